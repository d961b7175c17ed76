//! gzip, RFC 1952.

use super::deflate::Inflate;
use super::{Fault, Sink};

/// A body of one or more members.
pub(super) struct Gzip {
    at: At,
    inflate: Inflate,
    crc: Crc32,
    /// How many bytes the member has given, modulo 2^32.
    size: u32,
    /// Of the header that is being read.
    header: Crc32,
    flags: u8,
}

/// What comes next.
#[derive(Clone, Copy)]
enum At {
    /// The first byte of the body's first member.
    Start,
    /// The first byte of one more member, or the end of the body.
    Between,
    /// The rest of the ten bytes, by how many came.
    Fixed(u8),
    /// The optional fields in their order; a field that the flags don't announce is passed over.
    ExtraLength {
        low: Option<u8>,
    },
    Extra {
        left: u16,
    },
    Name,
    Comment,
    HeaderCrc {
        low: Option<u8>,
    },
    Data,
    /// CRC-32 and ISIZE, by how many bytes came.
    Trailer(u8, u64),
}

const HAS_CRC: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

impl Gzip {
    pub(super) fn new() -> Gzip {
        Gzip {
            at: At::Start,
            inflate: Inflate::bare(),
            crc: Crc32::new(),
            size: 0,
            header: Crc32::new(),
            flags: 0,
        }
    }

    pub(super) fn may_end(&self) -> bool {
        matches!(self.at, At::Between)
    }

    pub(super) fn push(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        while let Some((byte, rest)) = input.split_first() {
            match self.at {
                At::Data => {
                    let (crc, size) = (&mut self.crc, &mut self.size);
                    input = self.inflate.push(input, &mut |made| {
                        crc.update(made);
                        // ISIZE is modulo 2^32, RFC 1952 2.3.1.
                        *size = size.wrapping_add(made.len() as u32);
                        sink(made)
                    })?;
                    if self.inflate.done() {
                        self.at = At::Trailer(0, 0);
                    }
                    continue;
                }
                At::Trailer(came, value) => {
                    // Little-endian: each byte comes in at the top.
                    let value = value >> 8 | u64::from(*byte) << 56;
                    self.at = At::Trailer(came.saturating_add(1), value);
                    if came >= 7 {
                        if value != u64::from(self.size) << 32 | u64::from(self.crc.value()) {
                            return Err(Fault::Checksum);
                        }
                        self.at = At::Between;
                    }
                }
                _ => self.header_byte(*byte)?,
            }
            input = rest;
        }
        Ok(())
    }

    fn header_byte(&mut self, byte: u8) -> Result<(), Fault> {
        if !matches!(self.at, At::HeaderCrc { .. }) {
            self.header.update(&[byte]);
        }
        let next = match self.at {
            At::Start | At::Between => {
                if byte != 0x1f {
                    let first = matches!(self.at, At::Start);
                    return Err(if first { Fault::Header } else { Fault::Trailing });
                }
                self.header = Crc32::new();
                self.header.update(&[byte]);
                At::Fixed(1)
            }
            At::Fixed(came) => {
                match came {
                    1 if byte != 0x8b => return Err(Fault::Header),
                    2 if byte != 8 => return Err(Fault::Header),
                    // RFC 1952 2.3.1.2: a reserved bit may mean a field that would be taken for data.
                    3 if byte & RESERVED != 0 => return Err(Fault::Header),
                    3 => self.flags = byte,
                    _ => {}
                }
                match came {
                    9.. => At::ExtraLength { low: None },
                    _ => At::Fixed(came.saturating_add(1)),
                }
            }
            At::ExtraLength { low: None } => At::ExtraLength { low: Some(byte) },
            At::ExtraLength { low: Some(low) } => At::Extra {
                left: u16::from_le_bytes([low, byte]),
            },
            At::Extra { left } => At::Extra {
                left: left.saturating_sub(1),
            },
            At::Name if byte == 0 => At::Comment,
            At::Comment if byte == 0 => At::HeaderCrc { low: None },
            At::Name | At::Comment => self.at,
            At::HeaderCrc { low: None } => At::HeaderCrc { low: Some(byte) },
            At::HeaderCrc { low: Some(low) } => {
                if u16::from_le_bytes([low, byte]) != self.header.value() as u16 {
                    return Err(Fault::Checksum);
                }
                At::Data
            }
            At::Data | At::Trailer(..) => self.at,
        };
        self.at = self.pass_over(next);
        if matches!(self.at, At::Data) {
            self.inflate.reset();
            self.crc = Crc32::new();
            self.size = 0;
        }
        Ok(())
    }

    /// The next field that is there.
    fn pass_over(&self, mut at: At) -> At {
        loop {
            at = match at {
                At::ExtraLength { low: None } if self.flags & HAS_EXTRA == 0 => At::Name,
                At::Extra { left: 0 } => At::Name,
                At::Name if self.flags & HAS_NAME == 0 => At::Comment,
                At::Comment if self.flags & HAS_COMMENT == 0 => At::HeaderCrc { low: None },
                At::HeaderCrc { low: None } if self.flags & HAS_CRC == 0 => At::Data,
                at => return at,
            };
        }
    }
}

/// The CRC of RFC 1952 section 8, eight bytes a step.
pub(super) struct Crc32(u32);

impl Crc32 {
    pub(super) fn new() -> Crc32 {
        Crc32(!0)
    }

    pub(super) fn value(&self) -> u32 {
        !self.0
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let mut rest = bytes;
        while let Some((word, tail)) = rest.split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*word) ^ u64::from(crc);
            crc = TABLES
                .iter()
                .rev()
                .zip(word.to_le_bytes())
                .fold(0, |sum, (table, byte)| sum ^ entry(table, byte));
            rest = tail;
        }
        let [table, ..] = &TABLES;
        for byte in rest {
            crc = crc >> 8 ^ entry(table, crc as u8 ^ byte);
        }
        self.0 = crc;
    }
}

#[inline]
fn entry(table: &[u32; 256], byte: u8) -> u32 {
    table.get(usize::from(byte)).copied().unwrap_or_default()
}

/// The first is of a byte at the end, the next of one that a zero byte follows, and so on.
static TABLES: [[u32; 256]; 8] = tables();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs in the compiler alone, where a wrong index does not compile"
)]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod unit_tests {
    use super::Crc32;

    #[test]
    fn the_crc_is_that_of_the_check_value() {
        let mut crc = Crc32::new();
        crc.update(b"123456789");
        assert_eq!(crc.value(), 0xcbf4_3926);
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let (mut whole, mut single) = (Crc32::new(), Crc32::new());
        whole.update(&bytes);
        bytes.iter().for_each(|byte| single.update(&[*byte]));
        assert_eq!(whole.value(), single.value());
    }
}
