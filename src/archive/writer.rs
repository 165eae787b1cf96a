//! Entries to bytes: a tar stream with PAX records.

use std::io::{self, Write};

use super::header::{self, Fields, LONG_MAX, SHORT_MAX};
use super::{
    BLOCK_BYTES, Content, Entry, Kind, Totals, VERSION, Xattr, acl, number, own_record, padding,
    pax, sparse,
};

/// How the value of our first global record begins; the version follows.
pub(super) const VERSION_RECORD: &str = "sealcast archive ";

/// How the value of our last global record begins; three numbers follow.
pub(super) const TOTALS_RECORD: &str = "sealcast totals ";

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What an archive is written to. It lends memory of its own, so that what is read from a file
/// comes to its place at once.
pub trait BufWrite: Write {
    /// Room for what comes next: at least one byte.
    fn buffer(&mut self) -> &mut [u8];

    /// Takes the first `len` bytes of the room over.
    ///
    /// # Errors
    /// Those of [`Write::write`].
    fn advance(&mut self, len: usize) -> io::Result<()>;

    /// Takes what the archive says of itself, in a place where only we read it. In a bare stream
    /// there is no such place.
    ///
    /// # Errors
    /// Those of [`Write::write`].
    fn own_record(&mut self, text: &str) -> io::Result<()> {
        self.write_all(&own_record::blocks(text.as_bytes()))
    }
}

/// Writes an archive, entry by entry.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    own_record: fn(&mut W, &str) -> io::Result<()>,
    totals: Totals,
    /// Bytes that the present entry still owes.
    owed: u64,
    padding: u64,
    scratch: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins an archive on `out`, which should be buffered, as a bare tar stream.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W) -> io::Result<Self> {
        Self::with(out, |out, text| {
            out.write_all(&own_record::blocks(text.as_bytes()))
        })
    }

    fn with(out: W, own_record: fn(&mut W, &str) -> io::Result<()>) -> io::Result<Self> {
        let mut writer = Self {
            out,
            own_record,
            totals: Totals::default(),
            owed: 0,
            padding: 0,
            scratch: Vec::new(),
        };
        let version = format!("{VERSION_RECORD}{VERSION}");
        (writer.own_record)(&mut writer.out, &version)?;
        Ok(writer)
    }

    /// Writes the header of an entry; the stored bytes of a file must follow by [`Writer::data`]
    /// or in the [buffer](Writer::buffer).
    /// The extended attributes of an entry should not exceed [`pax::RECORDS_BYTES_MAX`] together.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.end_entry()?;
        let mut path = entry.path.clone();
        if entry.kind == Kind::Directory {
            path.extend_from_slice(if path.is_empty() { b"./" } else { b"/" });
        }
        let map = match &entry.kind {
            Kind::File(Content {
                size,
                map: Some(map),
            }) => sparse::emit(*size, map),
            _ => Vec::new(),
        };
        let stored = match &entry.kind {
            Kind::File(content) => content.stored(),
            _ => 0,
        };
        let size = stored + map.len() as u64;
        let mut records = std::mem::take(&mut self.scratch);
        records.clear();
        let header_path = put_records(&mut records, entry, &path, size);
        if !records.is_empty() {
            self.records(&records)?;
        }
        self.scratch = records;
        let meta = &entry.meta;
        let header = header::emit(&Fields {
            path: header_path,
            kind: &entry.kind,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            size,
            mtime: meta.mtime,
            uname: &meta.uname,
            gname: &meta.gname,
        });
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(&map)?;
        self.totals.entries += 1;
        self.totals.bytes += stored;
        self.owed = stored;
        self.padding = padding(size);
        Ok(())
    }

    /// Writes stored bytes of the present entry; what exceeds its header is left out.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = bytes
            .len()
            .min(usize::try_from(self.owed).unwrap_or(usize::MAX));
        self.out.write_all(&bytes[..len])?;
        self.owed -= len as u64;
        Ok(())
    }

    /// Ends the present entry. What it still owes becomes zero bytes, so that the archive stays
    /// whole when a file has shrunk.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn end_entry(&mut self) -> io::Result<()> {
        let mut left = self.owed + self.padding;
        (self.owed, self.padding) = (0, 0);
        while left > 0 {
            let len = left.min(ZEROS.len() as u64);
            self.out
                .write_all(&ZEROS[..usize::try_from(len).unwrap_or(ZEROS.len())])?;
            left -= len;
        }
        Ok(())
    }

    /// Counts an entry that could not be packed as it was.
    pub const fn count_error(&mut self) {
        self.totals.errors += 1;
    }

    /// What was written so far.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Ends the archive: totals and two zero blocks.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<(W, Totals)> {
        self.end_entry()?;
        let Totals {
            entries,
            bytes,
            errors,
        } = self.totals;
        let totals = format!("{TOTALS_RECORD}{entries} {bytes} {errors}");
        (self.own_record)(&mut self.out, &totals)?;
        self.out.write_all(&ZEROS[..2 * BLOCK_BYTES])?;
        Ok((self.out, self.totals))
    }

    fn records(&mut self, records: &[u8]) -> io::Result<()> {
        let len = records.len() as u64;
        let header = header::emit_records(false, len);
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(records)?;
        self.padding = padding(len);
        self.end_entry()
    }
}

impl<W: BufWrite> Writer<W> {
    /// Begins an archive whose entries alone are what others see of it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn in_frames(out: W) -> io::Result<Self> {
        Self::with(out, W::own_record)
    }

    /// Room for stored bytes of the present entry, at most `len`; what is put there counts when it
    /// is [taken over](Self::advance).
    pub fn buffer(&mut self, len: u64) -> &mut [u8] {
        let room = self.out.buffer();
        let len = usize::try_from(len.min(self.owed)).unwrap_or(usize::MAX);
        let len = len.min(room.len());
        &mut room[..len]
    }

    /// Takes over the first `len` bytes of the room that was given.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn advance(&mut self, len: usize) -> io::Result<()> {
        self.owed = self.owed.saturating_sub(len as u64);
        self.out.advance(len)
    }
}

/// The records that an entry needs; returns the path for its header block.
fn put_records<'a>(out: &mut Vec<u8>, entry: &Entry, path: &'a [u8], size: u64) -> &'a [u8] {
    let meta = &entry.meta;
    let decimal = |n: u64| n.to_string().into_bytes();
    let mut header_path = path;
    if let Kind::File(Content {
        size: real,
        map: Some(_),
    }) = &entry.kind
    {
        pax::emit(out, b"GNU.sparse.major", b"1");
        pax::emit(out, b"GNU.sparse.minor", b"0");
        pax::emit(out, b"GNU.sparse.name", path);
        pax::emit(out, b"GNU.sparse.realsize", &decimal(*real));
        // A reader that knows no holes restores the map under this name, beside the true ones.
        header_path = b"GNUSparseFile.0/file";
    } else if path.len() > 100 {
        pax::emit(out, b"path", path);
    }
    if let Kind::Symlink(target) | Kind::HardLink(target) = &entry.kind
        && target.len() > 100
    {
        pax::emit(out, b"linkpath", target);
    }
    if size > LONG_MAX {
        pax::emit(out, b"size", &decimal(size));
    }
    if u64::from(meta.uid) > SHORT_MAX {
        pax::emit(out, b"uid", &decimal(meta.uid.into()));
    }
    if u64::from(meta.gid) > SHORT_MAX {
        pax::emit(out, b"gid", &decimal(meta.gid.into()));
    }
    if meta.uname.len() > 31 {
        pax::emit(out, b"uname", &meta.uname);
    }
    if meta.gname.len() > 31 {
        pax::emit(out, b"gname", &meta.gname);
    }
    let time = meta.mtime;
    if time.nanos != 0 || !u64::try_from(time.secs).is_ok_and(|s| s <= LONG_MAX) {
        pax::emit(out, b"mtime", number::show_time(time).as_bytes());
    }
    // Access lists as other tars know them; the attribute itself comes after and counts.
    for Xattr { name, value } in &meta.xattrs {
        let key: &[u8] = match &name[..] {
            acl::ACCESS => b"SCHILY.acl.access",
            acl::DEFAULT => b"SCHILY.acl.default",
            _ => continue,
        };
        if let Some(text) = acl::to_text(value) {
            pax::emit(out, key, &text);
        }
    }
    for Xattr { name, value } in &meta.xattrs {
        pax::emit(out, &[pax::XATTR, &pax::escape_key(name)].concat(), value);
    }
    header_path
}
