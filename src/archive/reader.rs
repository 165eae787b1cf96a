//! Bytes to entries: a tar stream of any dialect that can be read without guessing.

use std::io::{self, BufRead};

use bytes::Bytes;

use super::acl::{self, Resolve};
use super::header::{self, Parsed};
use super::name::{self, Flaw};
use super::own_record::RECORD_KEY;
use super::writer::{TOTALS_RECORD, VERSION_RECORD};
use super::{
    BLOCK_BYTES, Content, Device, Entry, Error, Kind, Meta, ReadBytes, SEGMENTS_MAX, Segment, Time,
    Totals, VERSION, Xattr, number, padding, pax, sparse, xattr,
};

/// The longest target of a symbolic link: what Linux can store.
const TARGET_BYTES_MAX: usize = 4095;

/// The most zero bytes after the end: many times what a tape wants.
const PADDING_BYTES_MAX: u64 = 64 << 20;

const LAYER: &str = "the tar stream";

/// Reads an archive, entry by entry. After [`Reader::next`] gave a file, its stored bytes come by
/// [`Reader::data`] and [`Reader::consume`], or by [`Reader::take_bytes`].
pub struct Reader<'a, R> {
    input: R,
    resolve: Resolve<'a>,
    at: u64,
    /// Stored bytes of the present entry that are still to come.
    remaining: u64,
    padding: u64,
    globals: Records,
    version: Option<u32>,
    said: Option<Totals>,
    seen: Totals,
    done: bool,
}

/// Records that matter, of one entry or of all.
#[derive(Clone, Debug, Default)]
struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<i128>,
    gid: Option<i128>,
    uname: Option<Vec<u8>>,
    gname: Option<Vec<u8>>,
    mtime: Option<Time>,
    xattrs: Vec<Xattr>,
    /// Attributes in libarchive's own form, which is exact where its other one is not.
    exact_xattrs: Vec<Xattr>,
    sparse: Option<Sparse>,
}

#[derive(Clone, Debug, Default)]
struct Sparse {
    major: Option<u64>,
    minor: Option<u64>,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    offset: Option<u64>,
    map: Vec<Segment>,
}

/// What stands before an entry's own header.
#[derive(Default)]
struct Pending {
    records: Option<Records>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<'a, R: BufRead> Reader<'a, R> {
    /// Reads a tar stream from `input`; `resolve` turns names in access control lists to numbers.
    pub fn new(input: R, resolve: Resolve<'a>) -> Self {
        Self {
            input,
            resolve,
            at: 0,
            remaining: 0,
            padding: 0,
            globals: Records::default(),
            version: None,
            said: None,
            seen: Totals::default(),
            done: false,
        }
    }

    /// The next entry, or nothing at the sound end of the archive.
    ///
    /// # Errors
    /// Every reason to refuse the archive.
    #[expect(
        clippy::should_implement_trait,
        reason = "an entry's data must be read in between"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>, Error> {
        if self.done {
            return Ok(None);
        }
        self.skip_data()?;
        let mut pending = Pending::default();
        loop {
            let at = self.at;
            let block = self.block()?;
            if block.iter().all(|&b| b == 0) {
                if !pending.is_empty() {
                    return Err(bad(at)(
                        "the archive ends after a header that announces another",
                    ));
                }
                return self.end().map(|()| None);
            }
            if self.said.is_some() {
                return Err(Error::Totals("entries follow its totals"));
            }
            let parsed = header::parse(&block).map_err(bad(at))?;
            match parsed.kind {
                b'x' | b'g' | b'L' | b'K' => self.announce(at, &parsed, &mut pending)?,
                _ => return self.entry(at, &block, parsed, pending).map(Some),
            }
        }
    }

    /// Stored bytes of the present file, as many as are at hand; empty at their end.
    ///
    /// # Errors
    /// [`Error::Truncated`], or those of the input.
    pub fn data(&mut self) -> Result<&[u8], Error> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let at = self.at;
        let bytes = fill(&mut self.input)?;
        if bytes.is_empty() {
            return Err(Error::Truncated { at, layer: LAYER });
        }
        let len = bytes
            .len()
            .min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        Ok(&bytes[..len])
    }

    /// Marks `n` bytes of [`Reader::data`] as read.
    pub fn consume(&mut self, n: usize) {
        self.advance(n, R::consume);
    }

    fn advance<T>(&mut self, n: usize, how: impl FnOnce(&mut R, usize) -> T) -> T {
        self.at += n as u64;
        self.remaining = self.remaining.saturating_sub(n as u64);
        how(&mut self.input, n)
    }

    /// All of [`Reader::data`], marked as read and to be kept as long as it is wanted.
    ///
    /// # Errors
    /// As [`Reader::data`].
    pub fn take_bytes(&mut self) -> Result<Bytes, Error>
    where
        R: ReadBytes,
    {
        let len = self.data()?.len();
        Ok(self.advance(len, R::take_bytes))
    }

    /// What the archive said about itself, when it is ours; known at its end.
    pub const fn totals(&self) -> Option<Totals> {
        self.said
    }

    /// What was read so far.
    pub const fn seen(&self) -> Totals {
        self.seen
    }

    /// The version of the archive's format, when it is ours.
    pub const fn version(&self) -> Option<u32> {
        self.version
    }

    fn skip_data(&mut self) -> Result<(), Error> {
        self.remaining += self.padding;
        self.padding = 0;
        while self.remaining > 0 {
            let len = self.data()?.len();
            self.consume(len);
        }
        Ok(())
    }

    /// Reads exactly `buf`, or says where the stream ended.
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), Error> {
        let mut filled = 0;
        while filled < buf.len() {
            let bytes = fill(&mut self.input)?;
            let len = bytes.len().min(buf.len() - filled);
            if len == 0 {
                return Err(Error::Truncated {
                    at: self.at,
                    layer: LAYER,
                });
            }
            buf[filled..filled + len].copy_from_slice(&bytes[..len]);
            self.input.consume(len);
            self.at += len as u64;
            filled += len;
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK_BYTES], Error> {
        let mut block = [0; BLOCK_BYTES];
        self.fill(&mut block)?;
        Ok(block)
    }

    /// After the first zero block: a second, then nothing but zero bytes, then the end.
    fn end(&mut self) -> Result<(), Error> {
        let trailing = |at| Error::Trailing { at, layer: LAYER };
        let at = self.at;
        if self.block()?.iter().any(|&b| b != 0) {
            return Err(trailing(at));
        }
        loop {
            let bytes = fill(&mut self.input)?;
            if bytes.is_empty() {
                break;
            }
            if let Some(i) = bytes.iter().position(|&b| b != 0) {
                return Err(trailing(self.at + i as u64));
            }
            let len = bytes.len();
            self.input.consume(len);
            self.at += len as u64;
            if self.at - at > PADDING_BYTES_MAX {
                return Err(trailing(at));
            }
        }
        self.done = true;
        if self.version.is_some() {
            let said = self.said.ok_or(Error::Totals("its totals are missing"))?;
            if said.entries != self.seen.entries || said.bytes != self.seen.bytes {
                return Err(Error::Totals("its totals are not those of its entries"));
            }
        }
        Ok(())
    }

    /// A header that announces something about the entry after it, or about all.
    fn announce(&mut self, at: u64, parsed: &Parsed, pending: &mut Pending) -> Result<(), Error> {
        if parsed.size > pax::RECORDS_BYTES_MAX {
            return Err(bad(at)("its records are too long"));
        }
        let mut body = vec![0; usize::try_from(parsed.size).unwrap_or(0)];
        self.fill(&mut body)?;
        self.remaining = padding(parsed.size);
        self.skip_data()?;
        let long = |mut body: Vec<u8>| {
            let end = body.iter().position(|&b| b == 0).unwrap_or(body.len());
            body.truncate(end);
            body
        };
        let fits = match parsed.kind {
            b'x' => pending.is_empty(),
            b'g' => pending.is_empty(),
            b'L' => pending.records.is_none() && pending.long_path.is_none(),
            _ => pending.records.is_none() && pending.long_link.is_none(),
        };
        if !fits {
            return Err(bad(at)("two headers announce the same entry"));
        }
        match parsed.kind {
            b'x' => {
                let mut records = Records::default();
                self.read_records(&body, &mut records).map_err(bad(at))?;
                pending.records = Some(records);
            }
            b'g' => self.global(at, &body)?,
            b'L' => pending.long_path = Some(long(body)),
            _ => pending.long_link = Some(long(body)),
        }
        Ok(())
    }

    /// Records for all entries that follow: ours, or another tool's, which may set owners and
    /// times, but nothing that would make all entries one.
    fn global(&mut self, at: u64, body: &[u8]) -> Result<(), Error> {
        for record in pax::parse(body) {
            let record = record.map_err(bad(at))?;
            if record.key != RECORD_KEY {
                continue;
            }
            let Ok(value) = std::str::from_utf8(record.value) else {
                continue;
            };
            if let Some(version) = value.strip_prefix(VERSION_RECORD) {
                let version = version
                    .parse()
                    .map_err(|_| bad(at)("a version is no number"))?;
                if version == 0 || version > VERSION {
                    return Err(Error::Version(version));
                }
                if self.version.is_some() || self.seen.entries > 0 {
                    return Err(bad(at)("an archive begins inside of another"));
                }
                self.version = Some(version);
            } else if let Some(totals) = value.strip_prefix(TOTALS_RECORD)
                && self.version.is_some()
            {
                let totals = read_totals(totals).ok_or(bad(at)("totals are no numbers"))?;
                if self.said.replace(totals).is_some() {
                    return Err(bad(at)("the totals come twice"));
                }
            }
        }
        let mut records = std::mem::take(&mut self.globals);
        self.read_records(body, &mut records).map_err(bad(at))?;
        if records.path.is_some()
            || records.link.is_some()
            || records.size.is_some()
            || records.sparse.is_some()
            || !records.xattrs.is_empty()
            || !records.exact_xattrs.is_empty()
        {
            return Err(bad(at)(
                "a record for all entries may not set names, sizes or attributes",
            ));
        }
        self.globals = records;
        Ok(())
    }

    fn read_records(&self, body: &[u8], into: &mut Records) -> Result<(), &'static str> {
        for record in pax::parse(body) {
            let pax::Record { key, value } = record?;
            if let Some(name) = key.strip_prefix(pax::XATTR) {
                xattr::put(&mut into.xattrs, pax::unescape_key(name), value.to_vec())?;
            } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                xattr::put_exact(&mut into.exact_xattrs, name, value)?;
            } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                into.sparse.get_or_insert_default().set(key, value)?;
            } else {
                self.read_record(key, value, into)?;
            }
        }
        Ok(())
    }

    fn read_record(
        &self,
        key: &[u8],
        value: &[u8],
        into: &mut Records,
    ) -> Result<(), &'static str> {
        // An empty value takes an earlier record of the same key back.
        let some = !value.is_empty();
        let bytes = || some.then(|| value.to_vec());
        let number = |what| match number::decimal(value) {
            _ if !some => Ok(None),
            Some(n) => Ok(Some(n)),
            None => Err(what),
        };
        match key {
            b"path" => into.path = bytes(),
            b"linkpath" => into.link = bytes(),
            b"uname" => into.uname = bytes(),
            b"gname" => into.gname = bytes(),
            b"size" => into.size = number("a size is no number")?,
            b"uid" => into.uid = number("an owner is no number")?.map(i128::from),
            b"gid" => into.gid = number("a group is no number")?.map(i128::from),
            b"mtime" if !some => into.mtime = None,
            b"mtime" => into.mtime = Some(number::time(value).ok_or("a time is no number")?),
            b"SCHILY.acl.access" | b"SCHILY.acl.default" if some => {
                let name = if key.ends_with(b"access") {
                    acl::ACCESS
                } else {
                    acl::DEFAULT
                };
                let list = acl::from_text(value, self.resolve)
                    .ok_or("an access list cannot be read, or holds an unknown name")?;
                xattr::put(&mut into.xattrs, name.to_vec(), list)?;
            }
            b"RHT.security.selinux" if some => {
                xattr::put(
                    &mut into.xattrs,
                    b"security.selinux".to_vec(),
                    value.to_vec(),
                )?;
            }
            b"SCHILY.realsize" => return Err("a sparse file in a form that is not known"),
            _ => {}
        }
        Ok(())
    }

    fn entry(
        &mut self,
        at: u64,
        block: &[u8; BLOCK_BYTES],
        mut parsed: Parsed,
        pending: Pending,
    ) -> Result<Entry, Error> {
        let records = pending.records.unwrap_or_default();
        let size = records.size.unwrap_or(parsed.size);
        if i64::try_from(size).is_err() {
            return Err(bad(at)("its size is too great"));
        }
        let sparse_name = records.sparse.as_ref().and_then(|s| s.name.clone());
        let raw_path = sparse_name
            .or(records.path)
            .or(pending.long_path)
            .unwrap_or(parsed.path);
        let checked = name::check(&raw_path).map_err(|flaw| unsafe_name(at, &raw_path, flaw))?;
        let kind = match parsed.kind {
            // So wrote tar before it had a type for directories.
            b'\0' if checked.slash => b'5',
            kind => kind,
        };
        let is_file = matches!(kind, b'0' | b'\0' | b'7' | b'S');
        if kind != b'5' && checked.path.is_empty() {
            return Err(unsafe_name(at, &raw_path, Flaw::Root));
        }
        if kind != b'5' && checked.slash {
            return Err(unsafe_name(at, &raw_path, Flaw::Slash));
        }
        if !is_file && (size != 0 || records.sparse.is_some()) {
            return Err(bad(at)("an entry that is no file has content"));
        }
        self.remaining = size;
        self.padding = padding(size);
        let xattrs = xattr::merge_exact(records.xattrs, records.exact_xattrs);
        let links = matches!(kind, b'1' | b'2').then(|| {
            records
                .link
                .or(pending.long_link)
                .unwrap_or_else(|| std::mem::take(&mut parsed.link))
        });
        let kind = match links {
            Some(to) => link(at, kind, to)?,
            None if is_file => {
                let content = self.content(at, block, kind, size, records.sparse)?;
                self.seen.bytes += content.stored();
                Kind::File(content)
            }
            None => plain(at, kind, parsed.device)?,
        };
        self.seen.entries += 1;
        let globals = &self.globals;
        let uname = records.uname.or_else(|| globals.uname.clone());
        let gname = records.gname.or_else(|| globals.gname.clone());
        Ok(Entry {
            path: checked.path,
            kind,
            meta: Meta {
                mode: parsed.mode,
                uid: id(at, records.uid.or(globals.uid).unwrap_or(parsed.uid))?,
                gid: id(at, records.gid.or(globals.gid).unwrap_or(parsed.gid))?,
                uname: uname.unwrap_or(parsed.uname),
                gname: gname.unwrap_or(parsed.gname),
                mtime: records.mtime.or(globals.mtime).unwrap_or(parsed.mtime),
                xattrs,
            },
        })
    }

    /// The shape of a file's content; reads a map that precedes it.
    fn content(
        &mut self,
        at: u64,
        block: &[u8; BLOCK_BYTES],
        kind: u8,
        size: u64,
        sparse: Option<Sparse>,
    ) -> Result<Content, Error> {
        let (map, real) = match (kind, sparse) {
            (b'S', Some(_)) => return Err(bad(at)("a sparse file has two maps")),
            (b'S', None) => self.gnu_map(at, block)?,
            (_, None) => return Ok(Content::dense(size)),
            (_, Some(sparse)) => {
                let real = sparse
                    .size
                    .ok_or(bad(at)("a sparse file without its size"))?;
                match (sparse.major.unwrap_or(0), sparse.minor.unwrap_or(0)) {
                    (0, 0 | 1) => (sparse.map, real),
                    (1, 0) => (self.leading_map(at)?, real),
                    _ => return Err(bad(at)("a sparse file in a form that is not known")),
                }
            }
        };
        let map = sparse::check(map, real, self.remaining).map_err(bad(at))?;
        let dense = self.remaining == real;
        Ok(Content {
            size: real,
            map: (!dense).then_some(map),
        })
    }

    /// The rest of an old GNU map, in blocks between the header and the data.
    fn gnu_map(
        &mut self,
        at: u64,
        block: &[u8; BLOCK_BYTES],
    ) -> Result<(Vec<Segment>, u64), Error> {
        let (mut map, mut more, size) = header::gnu_sparse(block).map_err(bad(at))?;
        while more {
            let block = self.block()?;
            more = header::gnu_sparse_more(&block, &mut map).map_err(bad(at))?;
            if map.len() > SEGMENTS_MAX {
                return Err(bad(at)("a sparse map has too many segments"));
            }
        }
        Ok((map, size))
    }

    /// The map of the PAX form 1.0, in whole blocks at the head of the data.
    fn leading_map(&mut self, at: u64) -> Result<Vec<Segment>, Error> {
        let mut lines = sparse::Lines::default();
        let mut line = Vec::new();
        loop {
            if self.remaining < BLOCK_BYTES as u64 {
                return Err(bad(at)("a sparse map is longer than its file"));
            }
            let block = self.block()?;
            self.remaining -= BLOCK_BYTES as u64;
            for b in block {
                if b != b'\n' {
                    line.push(b);
                    if line.len() > 20 {
                        return Err(bad(at)("a number of a sparse map is none"));
                    }
                    continue;
                }
                if lines.parse_line(&line).map_err(bad(at))? {
                    return Ok(lines.into_map());
                }
                line.clear();
            }
        }
    }
}

impl Pending {
    const fn is_empty(&self) -> bool {
        self.records.is_none() && self.long_path.is_none() && self.long_link.is_none()
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let number = || number::decimal(value).ok_or("a number of a sparse map is none");
        match key {
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"offset" => {
                if self.offset.replace(number()?).is_some() {
                    return Err("a sparse map is not in pairs");
                }
            }
            b"numbytes" => {
                let offset = self.offset.take().ok_or("a sparse map is not in pairs")?;
                self.map.push(Segment {
                    offset,
                    len: number()?,
                });
            }
            b"map" => self.map = sparse::comma_list(value)?,
            b"numblocks" => {}
            _ => return Err("a sparse file in a form that is not known"),
        }
        Ok(())
    }
}

fn unsafe_name(at: u64, path: &[u8], flaw: Flaw) -> Error {
    Error::Name {
        at,
        path: path.to_vec(),
        flaw,
    }
}

/// An owner's number; the greatest stands for none.
fn id(at: u64, n: i128) -> Result<u32, Error> {
    let fits = u32::try_from(n).ok().filter(|&n| n != u32::MAX);
    fits.ok_or_else(|| bad(at)("an owner or group is no user's number"))
}

/// An entry that is a link of either kind.
fn link(at: u64, kind: u8, to: Vec<u8>) -> Result<Kind, Error> {
    if kind == b'1' {
        let checked = name::check(&to).map_err(|flaw| unsafe_name(at, &to, flaw))?;
        if checked.path.is_empty() || checked.slash {
            return Err(unsafe_name(at, &to, Flaw::Root));
        }
        return Ok(Kind::HardLink(checked.path));
    }
    if to.is_empty() || to.contains(&0) || to.len() > TARGET_BYTES_MAX {
        return Err(bad(at)(
            "a symbolic link's target is empty, too long or no text",
        ));
    }
    Ok(Kind::Symlink(to))
}

/// An entry that its header describes whole.
fn plain(at: u64, kind: u8, device: Device) -> Result<Kind, Error> {
    match kind {
        b'3' => Ok(Kind::Character(device)),
        b'4' => Ok(Kind::Block(device)),
        b'5' => Ok(Kind::Directory),
        b'6' => Ok(Kind::Fifo),
        kind => Err(Error::UnknownType { at, kind }),
    }
}

fn bad(at: u64) -> impl Fn(&'static str) -> Error {
    move |what| Error::Header { at, what }
}

fn fill<R: BufRead>(input: &mut R) -> Result<&[u8], Error> {
    // The borrow checker cannot see that a retry after `Interrupted` ends the first borrow.
    while let Err(e) = input.fill_buf() {
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e.into());
        }
    }
    Ok(input.fill_buf()?)
}

fn read_totals(text: &str) -> Option<Totals> {
    let mut numbers = text.split(' ').map(|n| number::decimal(n.as_bytes()));
    let totals = Totals {
        entries: numbers.next()??,
        bytes: numbers.next()??,
        errors: numbers.next()??,
    };
    numbers.next().is_none().then_some(totals)
}
