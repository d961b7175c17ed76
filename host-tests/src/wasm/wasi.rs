//! The part of WASI preview 1 that Envoy has: standard output and error become log lines, there are clocks, randomness and
//! an environment, and no files or sockets. Under `wasi_snapshot_preview1` and the older `wasi_unstable`.

use wasmtime::{Linker, Result};

use super::calls::{Guest, read, write};
use super::host::Host;

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

/// Adds the subset to a linker.
pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    for module in MODULES {
        linker.func_wrap(
            module,
            "fd_write",
            |guest: Guest<'_>, fd: u32, vectors: u32, count: u32, written: u32| {
                told(guest, "fd_write", |guest| fd_write(guest, fd, vectors, count, written))
            },
        )?;
        linker.func_wrap(
            module,
            "fd_pwrite",
            |guest: Guest<'_>, fd: u32, vectors: u32, count: u32, _: u64, written: u32| {
                told(guest, "fd_pwrite", |guest| fd_write(guest, fd, vectors, count, written))
            },
        )?;
        linker.func_wrap(
            module,
            "clock_time_get",
            |guest: Guest<'_>, clock: u32, precision: u64, time: u32| {
                told(guest, "clock_time_get", |guest| {
                    clock_time_get(guest, clock, precision, time)
                })
            },
        )?;
        linker.func_wrap(
            module,
            "clock_res_get",
            |mut guest: Guest<'_>, clock: u32, resolution: u32| {
                if clock > 1 {
                    return NOTSUP;
                }
                tell(&mut guest, resolution, &1_u64.to_le_bytes())
            },
        )?;
        linker.func_wrap(module, "random_get", |guest: Guest<'_>, address: u32, size: u32| {
            told(guest, "random_get", |guest| random_get(guest, address, size))
        })?;
        linker.func_wrap(module, "environ_get", |guest: Guest<'_>, pointers: u32, texts: u32| {
            told(guest, "environ_get", |guest| environ_get(guest, pointers, texts))
        })?;
        linker.func_wrap(
            module,
            "environ_sizes_get",
            |guest: Guest<'_>, count: u32, size: u32| {
                told(guest, "environ_sizes_get", |guest| {
                    environ_sizes_get(guest, count, size)
                })
            },
        )?;
        linker.func_wrap(module, "args_get", |_: u32, _: u32| SUCCESS)?;
        linker.func_wrap(
            module,
            "args_sizes_get",
            |mut guest: Guest<'_>, count: u32, size: u32| match tell(&mut guest, count, &[0; 4]) {
                SUCCESS => tell(&mut guest, size, &[0; 4]),
                errno => errno,
            },
        )?;
        // Returns, as Envoy's does; what a compiler puts behind it is a trap.
        linker.func_wrap(module, "proc_exit", |_: u32| {})?;
        linker.func_wrap(module, "sched_yield", || SUCCESS)?;
        linker.func_wrap(
            module,
            "poll_oneoff",
            |mut guest: Guest<'_>, _: u32, _: u32, _: u32, events: u32| tell(&mut guest, events, &[0; 4]),
        )?;
        link_files(linker, module)?;
    }
    Ok(())
}

/// What Envoy has of files: answers that say there are none.
fn link_files(linker: &mut Linker<Host>, module: &str) -> Result<()> {
    let standard = |fd: u32| if fd == 1 || fd == 2 { SUCCESS } else { BADF };
    linker.func_wrap(module, "fd_read", |_: u32, _: u32, _: u32, _: u32| NOSYS)?;
    linker.func_wrap(module, "fd_pread", |_: u32, _: u32, _: u32, _: u64, _: u32| NOSYS)?;
    linker.func_wrap(module, "fd_seek", |_: u32, _: u64, _: u32, _: u32| SUCCESS)?;
    linker.func_wrap(module, "fd_close", |_: u32| SUCCESS)?;
    linker.func_wrap(module, "fd_fdstat_get", |mut guest: Guest<'_>, fd: u32, stat: u32| {
        if fd != 1 && fd != 2 {
            return BADF;
        }
        let mut bytes = [0; 24];
        bytes[8] = 64; // the right to write
        // Envoy does not look whether it could.
        write(&mut guest, stat, &bytes);
        SUCCESS
    })?;
    linker.func_wrap(module, "fd_fdstat_set_flags", |_: u32, _: u32| NOSYS)?;
    linker.func_wrap(module, "fd_fdstat_set_rights", move |fd: u32, _: u64, _: u64| {
        standard(fd)
    })?;
    linker.func_wrap(module, "fd_advise", move |fd: u32, _: u64, _: u64, _: u32| standard(fd))?;
    linker.func_wrap(module, "fd_allocate", move |fd: u32, _: u64, _: u64| standard(fd))?;
    linker.func_wrap(module, "fd_datasync", move |fd: u32| standard(fd))?;
    linker.func_wrap(module, "fd_sync", move |fd: u32| standard(fd))?;
    linker.func_wrap(module, "fd_filestat_get", |_: u32, _: u32| BADF)?;
    linker.func_wrap(module, "fd_filestat_set_size", move |fd: u32, _: u64| standard(fd))?;
    linker.func_wrap(
        module,
        "fd_filestat_set_times",
        move |fd: u32, _: u64, _: u64, _: u32| standard(fd),
    )?;
    linker.func_wrap(module, "fd_prestat_get", |_: u32, _: u32| BADF)?;
    linker.func_wrap(module, "fd_prestat_dir_name", |_: u32, _: u32, _: u32| NOSYS)?;
    linker.func_wrap(module, "fd_readdir", |_: u32, _: u32, _: u32, _: u64, _: u32| NOTDIR)?;
    linker.func_wrap(module, "fd_renumber", |_: u32, _: u32| NOTSUP)?;
    linker.func_wrap(module, "fd_tell", |mut guest: Guest<'_>, fd: u32, offset: u32| {
        if fd != 1 && fd != 2 {
            BADF
        } else {
            tell(&mut guest, offset, &[0; 8])
        }
    })?;
    linker.func_wrap(
        module,
        "path_open",
        |_: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32, _: u32| NOENT,
    )?;
    linker.func_wrap(module, "path_create_directory", |_: u32, _: u32, _: u32| NOTSUP)?;
    linker.func_wrap(module, "path_filestat_get", |_: u32, _: u32, _: u32, _: u32, _: u32| {
        NOTSUP
    })?;
    linker.func_wrap(
        module,
        "path_filestat_set_times",
        |_: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32| NOTSUP,
    )?;
    linker.func_wrap(
        module,
        "path_link",
        |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP,
    )?;
    linker.func_wrap(
        module,
        "path_readlink",
        |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP,
    )?;
    linker.func_wrap(module, "path_remove_directory", |_: u32, _: u32, _: u32| NOTSUP)?;
    linker.func_wrap(
        module,
        "path_rename",
        |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP,
    )?;
    linker.func_wrap(module, "path_symlink", |_: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?;
    linker.func_wrap(module, "path_unlink_file", |_: u32, _: u32, _: u32| NOTSUP)?;
    linker.func_wrap(module, "sock_accept", |_: u32, _: u32, _: u32| NOTSUP)?;
    linker.func_wrap(module, "sock_recv", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
        NOTSUP
    })?;
    linker.func_wrap(module, "sock_send", |_: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?;
    linker.func_wrap(module, "sock_shutdown", |_: u32, _: u32| NOTSUP)?;
    Ok(())
}

/// The names of all that [`link`] provides.
pub(crate) const PROVIDED: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

fn tell(guest: &mut Guest<'_>, address: u32, bytes: &[u8]) -> u32 {
    if write(guest, address, bytes) { SUCCESS } else { FAULT }
}

/// A call that reports and traces tell of.
fn told(mut guest: Guest<'_>, name: &'static str, call: impl FnOnce(&mut Guest<'_>) -> u32) -> u32 {
    let errno = call(&mut guest);
    guest.data_mut().called(name, None, Some(errno));
    errno
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
    let mut text = Vec::new();
    for vector in table.chunks_exact(8) {
        let number = |at: usize| u32::from_le_bytes([vector[at], vector[at + 1], vector[at + 2], vector[at + 3]]);
        let Some(bytes) = read(guest, number(0), number(4)) else {
            return FAULT;
        };
        text.extend(bytes);
    }
    let size = text.len() as u32;
    if size > 0 {
        guest
            .data_mut()
            .world
            .log(level, text.strip_suffix(b"\n").unwrap_or(&text));
    }
    tell(guest, written, &size.to_le_bytes())
}

fn clock_time_get(guest: &mut Guest<'_>, clock: u32, _precision: u64, time: u32) -> u32 {
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
