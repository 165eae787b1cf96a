//! Header blocks: fields to bytes and back.

use tar::{EntryType, Header};

use super::number::field;
use super::{BLOCK_BYTES, Device, Kind, Segment, Time};

/// The name of header blocks that carry records: it holds nothing that depends on the run.
const RECORDS_NAME: &[u8] = b"././@PaxHeader";

/// The greatest numbers that fit the octal fields of eight and twelve bytes.
pub(super) const SHORT_MAX: u64 = 0o7_777_777;
pub(super) const LONG_MAX: u64 = 0o77_777_777_777;

/// What a header block says, before records have their say.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) kind: u8,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: i128,
    pub(super) gid: i128,
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) uname: Vec<u8>,
    pub(super) gname: Vec<u8>,
    pub(super) device: Device,
}

/// Whether a block is a header with a right checksum, or the end of an archive.
pub(super) fn looks_like_tar(start: &[u8]) -> bool {
    start
        .first_chunk::<BLOCK_BYTES>()
        .is_some_and(|block| block.iter().all(|&b| b == 0) || checksum_fits(block))
}

fn checksum_fits(block: &[u8; BLOCK_BYTES]) -> bool {
    let Some(said) = field(&block[148..156]) else {
        return false;
    };
    let with_spaces = |i: usize| {
        if (148..156).contains(&i) {
            b' '
        } else {
            block[i]
        }
    };
    // 512 bytes add up to less than 2^18.
    let unsigned: i32 = (0..BLOCK_BYTES).map(|i| i32::from(with_spaces(i))).sum();
    // Some old tools added signed bytes.
    let signed = || -> i32 {
        (0..BLOCK_BYTES)
            .map(|i| i32::from(with_spaces(i).cast_signed()))
            .sum()
    };
    said == i128::from(unsigned) || said == i128::from(signed())
}

fn text(field: &[u8]) -> Vec<u8> {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    field[..end].to_vec()
}

/// Reads a header block.
pub(super) fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Parsed, &'static str> {
    if !checksum_fits(block) {
        return Err("its checksum is wrong");
    }
    let ustar = &block[257..265] == b"ustar\x0000";
    let gnu = &block[257..265] == b"ustar  \0";
    let kind = block[156];
    let mut path = text(&block[..100]);
    if ustar && block[345] != 0 {
        path = [&text(&block[345..500])[..], &path].join(&b'/');
    }
    let number = |from: usize, to: usize, what| field(&block[from..to]).ok_or(what);
    let device = if ustar || gnu {
        let half = |from| {
            number(from, from + 8, "a device number is none")
                .and_then(|n| u32::try_from(n).map_err(|_| "a device number is too great"))
        };
        // The fields mean nothing for other types, and some tools leave rubbish there.
        if matches!(kind, b'3' | b'4') {
            Device {
                major: half(329)?,
                minor: half(337)?,
            }
        } else {
            Device { major: 0, minor: 0 }
        }
    } else {
        Device { major: 0, minor: 0 }
    };
    let named = ustar || gnu;
    Ok(Parsed {
        kind,
        path,
        link: text(&block[157..257]),
        mode: u32::try_from(number(100, 108, "its mode is no number")? & 0o7777)
            .map_err(|_| "its mode is no number")?,
        uid: number(108, 116, "its owner is no number")?,
        gid: number(116, 124, "its group is no number")?,
        size: u64::try_from(number(124, 136, "its size is no number")?)
            .ok()
            .filter(|&size| i64::try_from(size).is_ok())
            .ok_or("its size is no number")?,
        mtime: Time {
            secs: i64::try_from(number(136, 148, "its time is no number")?)
                .map_err(|_| "its time is no number")?,
            nanos: 0,
        },
        uname: if named {
            text(&block[265..297])
        } else {
            vec![]
        },
        gname: if named {
            text(&block[297..329])
        } else {
            vec![]
        },
        device,
    })
}

/// The four segments, the mark of more blocks and the real size in a header of old GNU sparse form.
pub(super) fn gnu_sparse(
    block: &[u8; BLOCK_BYTES],
) -> Result<(Vec<Segment>, bool, u64), &'static str> {
    let mut map = Vec::new();
    segments(&block[386..482], &mut map)?;
    let size = length(&block[483..495])?;
    Ok((map, block[482] != 0, size))
}

/// The 21 segments and the mark of more in a block that continues a sparse map.
pub(super) fn gnu_sparse_more(
    block: &[u8; BLOCK_BYTES],
    map: &mut Vec<Segment>,
) -> Result<bool, &'static str> {
    segments(&block[..504], map)?;
    Ok(block[504] != 0)
}

fn segments(fields: &[u8], map: &mut Vec<Segment>) -> Result<(), &'static str> {
    for pair in fields.chunks_exact(24) {
        // An unused place ends the list.
        if pair[0] == 0 || pair[12] == 0 {
            break;
        }
        map.push(Segment {
            offset: length(&pair[..12])?,
            len: length(&pair[12..])?,
        });
    }
    Ok(())
}

fn length(bytes: &[u8]) -> Result<u64, &'static str> {
    field(bytes)
        .and_then(|n| u64::try_from(n).ok())
        .filter(|&n| i64::try_from(n).is_ok())
        .ok_or("a number of a sparse map is none")
}

/// Fields for a header block. What does not fit is zero or cut, and belongs into a record.
pub(super) struct Fields<'a> {
    pub(super) path: &'a [u8],
    pub(super) kind: &'a Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) uname: &'a [u8],
    pub(super) gname: &'a [u8],
}

/// Makes a header block for an entry.
pub(super) fn emit(fields: &Fields<'_>) -> Header {
    let mut header = Header::new_ustar();
    let kind = match fields.kind {
        Kind::File(_) => EntryType::Regular,
        Kind::Directory => EntryType::Directory,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::HardLink(_) => EntryType::Link,
        Kind::Character(_) => EntryType::Char,
        Kind::Block(_) => EntryType::Block,
        Kind::Fifo => EntryType::Fifo,
    };
    header.set_entry_type(kind);
    header.set_mode(fields.mode);
    let fit = |n: u64, max: u64| if n <= max { n } else { 0 };
    header.set_uid(fit(fields.uid.into(), SHORT_MAX));
    header.set_gid(fit(fields.gid.into(), SHORT_MAX));
    header.set_size(fit(fields.size, LONG_MAX));
    header.set_mtime(fit(u64::try_from(fields.mtime.secs).unwrap_or(0), LONG_MAX));
    if let Kind::Symlink(target) | Kind::HardLink(target) = fields.kind {
        put(&mut header.as_old_mut().linkname, target);
    }
    put(&mut header.as_old_mut().name, fields.path);
    if let Some(ustar) = header.as_ustar_mut() {
        if fields.uname.len() < ustar.uname.len() {
            put(&mut ustar.uname, fields.uname);
        }
        if fields.gname.len() < ustar.gname.len() {
            put(&mut ustar.gname, fields.gname);
        }
        if let Kind::Character(device) | Kind::Block(device) = fields.kind {
            ustar.set_device_major(device.major);
            ustar.set_device_minor(device.minor);
        }
    }
    header.set_cksum();
    header
}

/// Makes a header block for `len` bytes of records: of the next entry, or of all that follow.
pub(super) fn emit_records(global: bool, len: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(if global {
        EntryType::XGlobalHeader
    } else {
        EntryType::XHeader
    });
    put(&mut header.as_old_mut().name, RECORDS_NAME);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(len);
    header.set_cksum();
    header
}

fn put(field: &mut [u8], value: &[u8]) {
    let len = value.len().min(field.len());
    field[..len].copy_from_slice(&value[..len]);
}
