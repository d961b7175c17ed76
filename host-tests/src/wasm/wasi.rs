//! The part of WASI preview 1 that Envoy has: standard output and error become log lines, there are clocks, randomness and
//! an environment, and no files or sockets. Under `wasi_snapshot_preview1` and the older `wasi_unstable`.

use wasmparser::FuncType;
use wasmtime::{Linker, Result};

use super::calls::{Guest, read, write};
use super::host::Host;
use super::signature;

const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const NOENT: u32 = 44;
const NOSYS: u32 = 52;
/// What Envoy answers for a directory; WASI calls it something else.
const NOTDIR: u32 = 20;
const NOTSUP: u32 = 58;

/// The modules that carry it.
pub(crate) const MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// Envoy's limit for one `random_get`.
const RANDOM_MAX: u32 = 64 << 10;

macro_rules! wasi_calls {
    ($($name:ident($guest:ident $(, $argument:ident: $type:ident)*) $body:block)*) => {
        fn link_calls(linker: &mut Linker<Host>, module: &str) -> Result<()> {
            $(linker.func_wrap(
                module,
                stringify!($name),
                |mut caller: Guest<'_>, $($argument: $type),*| -> Result<u32> {
                    caller.data().allow(stringify!($name))?;
                    let $guest = &mut caller;
                    let errno = $body;
                    caller.data_mut().called(stringify!($name), None, Some(errno));
                    Ok(errno)
                },
            )?;)*
            Ok(())
        }

        /// The functions that return an error number, each with the types of its parameters.
        const CALLS: &[(&str, &[&str])] = &[$((stringify!($name), &[$(stringify!($type)),*])),*];
    };
}

// What there is.
wasi_calls! {
    fd_write(guest, fd: u32, vectors: u32, count: u32, written: u32) { fd_write(guest, fd, vectors, count, written) }
    fd_pwrite(guest, fd: u32, vectors: u32, count: u32, _offset: u64, written: u32) {
        fd_write(guest, fd, vectors, count, written)
    }
    clock_time_get(guest, clock: u32, _precision: u64, time: u32) { clock_time_get(guest, clock, time) }
    clock_res_get(guest, clock: u32, resolution: u32) {
        if clock > 1 { NOTSUP } else { tell(guest, resolution, &1_u64.to_le_bytes()) }
    }
    random_get(guest, address: u32, size: u32) { random_get(guest, address, size) }
    environ_get(guest, pointers: u32, texts: u32) { environ_get(guest, pointers, texts) }
    environ_sizes_get(guest, count: u32, size: u32) { environ_sizes_get(guest, count, size) }
    args_get(_guest, _pointers: u32, _texts: u32) { SUCCESS }
    args_sizes_get(guest, count: u32, size: u32) {
        match tell(guest, count, &[0; 4]) {
            SUCCESS => tell(guest, size, &[0; 4]),
            errno => errno,
        }
    }
    sched_yield(_guest) { SUCCESS }
    poll_oneoff(guest, _subscriptions: u32, _events: u32, _count: u32, happened: u32) { tell(guest, happened, &[0; 4]) }

    // Files: there are none but the two that are logs.
    fd_read(_guest, _fd: u32, _vectors: u32, _count: u32, _read: u32) { NOSYS }
    fd_pread(_guest, _fd: u32, _vectors: u32, _count: u32, _offset: u64, _read: u32) { NOSYS }
    fd_seek(_guest, _fd: u32, _offset: u64, _whence: u32, _position: u32) { SUCCESS }
    fd_tell(guest, fd: u32, position: u32) {
        match a_log(fd) {
            SUCCESS => tell(guest, position, &[0; 8]),
            errno => errno,
        }
    }
    fd_close(_guest, _fd: u32) { SUCCESS }
    fd_fdstat_get(guest, fd: u32, stat: u32) {
        let mut bytes = [0; 24];
        bytes[8] = 64; // the right to write
        let errno = a_log(fd);
        if errno == SUCCESS {
            // Envoy does not look whether it could.
            write(guest, stat, &bytes);
        }
        errno
    }
    fd_fdstat_set_flags(_guest, _fd: u32, _flags: u32) { NOSYS }
    fd_fdstat_set_rights(_guest, fd: u32, _base: u64, _inheriting: u64) { a_log(fd) }
    fd_advise(_guest, _fd: u32, _offset: u64, _length: u64, _advice: u32) { SUCCESS }
    fd_allocate(_guest, fd: u32, _offset: u64, _length: u64) { a_log(fd) }
    fd_datasync(_guest, fd: u32) { a_log(fd) }
    fd_sync(_guest, fd: u32) { a_log(fd) }
    fd_filestat_get(_guest, _fd: u32, _stat: u32) { BADF }
    fd_filestat_set_size(_guest, fd: u32, _size: u64) { a_log(fd) }
    fd_filestat_set_times(_guest, fd: u32, _accessed: u64, _modified: u64, _flags: u32) { a_log(fd) }
    fd_prestat_get(_guest, _fd: u32, _stat: u32) { BADF }
    fd_prestat_dir_name(_guest, _fd: u32, _path: u32, _size: u32) { NOSYS }
    fd_readdir(guest, _fd: u32, _buffer: u32, _size: u32, _cookie: u64, read: u32) {
        no_answer(tell(guest, read, &[0; 4]), NOTDIR)
    }
    fd_renumber(_guest, fd: u32, to: u32) {
        if a_log(fd) == SUCCESS && a_log(to) == SUCCESS { NOTSUP } else { BADF }
    }
    path_open(_guest, _fd: u32, _lookup: u32, _path: u32, _size: u32, _open: u32, _base: u64, _inheriting: u64, _flags: u32, _opened: u32) {
        NOENT
    }
    path_create_directory(_guest, _fd: u32, _path: u32, _size: u32) { NOTSUP }
    path_filestat_get(_guest, _fd: u32, _lookup: u32, _path: u32, _size: u32, _stat: u32) { NOTSUP }
    path_filestat_set_times(_guest, _fd: u32, _lookup: u32, _path: u32, _size: u32, _accessed: u64, _modified: u64, _flags: u32) { NOTSUP }
    // WASI gives `path_link` and `path_symlink` one parameter more, the size of the new path; Envoy does not, and so refuses modules that
    // import the true ones.
    path_link(_guest, _fd: u32, _lookup: u32, _path: u32, _size: u32, _new_fd: u32, _new_path: u32) { NOTSUP }
    path_symlink(_guest, _path: u32, _size: u32, _fd: u32, _new_path: u32) { NOTSUP }
    path_readlink(guest, _fd: u32, _path: u32, _size: u32, _buffer: u32, _buffer_size: u32, read: u32) {
        no_answer(tell(guest, read, &[0; 4]), NOTSUP)
    }
    path_remove_directory(_guest, _fd: u32, _path: u32, _size: u32) { NOTSUP }
    path_rename(_guest, _fd: u32, _path: u32, _size: u32, _new_fd: u32, _new_path: u32, _new_size: u32) { NOTSUP }
    path_unlink_file(_guest, _fd: u32, _path: u32, _size: u32) { NOTSUP }

    // Sockets: there are none.
    sock_accept(guest, _fd: u32, _flags: u32, accepted: u32) { no_answer(tell(guest, accepted, &[0; 8]), NOTSUP) }
    sock_recv(guest, _fd: u32, _vectors: u32, _count: u32, _flags: u32, size: u32, flags: u32) {
        match tell(guest, size, &[0; 4]) {
            SUCCESS => no_answer(tell(guest, flags, &[0; 2]), NOTSUP),
            errno => errno,
        }
    }
    sock_send(guest, _fd: u32, _vectors: u32, _count: u32, _flags: u32, size: u32) { no_answer(tell(guest, size, &[0; 4]), NOTSUP) }
    sock_shutdown(_guest, _fd: u32, _how: u32) { NOTSUP }
}

/// Adds the subset to a linker.
pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    for module in MODULES {
        link_calls(linker, module)?;
        // Returns, as Envoy's does; what a compiler puts behind it is a trap.
        linker.func_wrap(module, "proc_exit", |guest: Guest<'_>, _code: u32| {
            guest.data().allow("proc_exit")
        })?;
    }
    Ok(())
}

/// The types of a function; none: Envoy does not have it.
pub(crate) fn signature(name: &str) -> Option<FuncType> {
    if name == "proc_exit" {
        return Some(signature::function(&["u32"], &[]));
    }
    let (_, parameters) = CALLS.iter().find(|(call, _)| *call == name)?;
    Some(signature::function(parameters, &["u32"]))
}

/// Standard output and error are open, and nothing else.
fn a_log(fd: u32) -> u32 {
    if fd == 1 || fd == 2 { SUCCESS } else { BADF }
}

/// The refusal, once the guest was told that nothing came.
fn no_answer(told: u32, refusal: u32) -> u32 {
    if told == SUCCESS { refusal } else { told }
}

fn tell(guest: &mut Guest<'_>, address: u32, bytes: &[u8]) -> u32 {
    if write(guest, address, bytes) { SUCCESS } else { FAULT }
}

/// One call is one log line, without the newline at its end.
fn fd_write(guest: &mut Guest<'_>, fd: u32, vectors: u32, count: u32, written: u32) -> u32 {
    let level = match fd {
        1 => 2,
        2 => 4,
        _ => return BADF,
    };
    let Some(table) = count.checked_mul(8).and_then(|size| read(guest, vectors, size)) else {
        return FAULT;
    };
    // Vectors may overlap: what is written can be no more than there is memory, as nobody means to write a byte twice.
    let sizes = table
        .chunks_exact(8)
        .map(|vector| u64::from(u32::from_le_bytes([vector[4], vector[5], vector[6], vector[7]])));
    let memory = guest.data().memory.map_or(0, |memory| memory.data_size(&*guest));
    if sizes.sum::<u64>() > memory as u64 {
        return FAULT;
    }
    let mut text = Vec::new();
    for vector in table.chunks_exact(8) {
        let number = |at: usize| u32::from_le_bytes([vector[at], vector[at + 1], vector[at + 2], vector[at + 3]]);
        if number(4) > 0 {
            let Some(bytes) = read(guest, number(0), number(4)) else {
                return FAULT;
            };
            text.extend(bytes);
        }
    }
    let size = text.len() as u32;
    if size > 0 {
        let line = text.strip_suffix(b"\n").unwrap_or(&text);
        if !guest.data_mut().world.log(level, line) {
            return FAULT;
        }
    }
    tell(guest, written, &size.to_le_bytes())
}

fn clock_time_get(guest: &mut Guest<'_>, clock: u32, time: u32) -> u32 {
    let world = &guest.data().world;
    let now = match clock {
        0 => world.now(),
        1 => world.uptime(),
        _ => return NOTSUP,
    };
    tell(guest, time, &(now.as_nanos() as u64).to_le_bytes())
}

fn random_get(guest: &mut Guest<'_>, address: u32, size: u32) -> u32 {
    if size > RANDOM_MAX {
        return INVAL;
    }
    if size == 0 {
        return SUCCESS;
    }
    let mut bytes = Vec::with_capacity(size as usize + 8);
    while bytes.len() < size as usize {
        bytes.extend(guest.data_mut().random().to_le_bytes());
    }
    bytes.truncate(size as usize);
    guest.data().gave(bytes.len());
    tell(guest, address, &bytes)
}

fn environ_get(guest: &mut Guest<'_>, pointers: u32, texts: u32) -> u32 {
    let environment = guest.data().environment.clone();
    if environment.is_empty() {
        return SUCCESS;
    }
    let (mut table, mut bytes) = (Vec::new(), Vec::new());
    for entry in environment {
        table.extend(texts.wrapping_add(bytes.len() as u32).to_le_bytes());
        bytes.extend(entry);
        bytes.push(0);
    }
    match tell(guest, pointers, &table) {
        SUCCESS => tell(guest, texts, &bytes),
        errno => errno,
    }
}

fn environ_sizes_get(guest: &mut Guest<'_>, count: u32, size: u32) -> u32 {
    let environment = &guest.data().environment;
    let (entries, bytes) = (
        environment.len(),
        environment.iter().map(|entry| entry.len() + 1).sum::<usize>(),
    );
    match tell(guest, count, &(entries as u32).to_le_bytes()) {
        SUCCESS => tell(guest, size, &(bytes as u32).to_le_bytes()),
        errno => errno,
    }
}
