//! Maps of files with holes: what they look like in an archive, and which are sound.

use super::number::decimal;
use super::{Segment, padding};

/// The most segments a file may have.
pub const SEGMENTS_MAX: usize = 1 << 20;

/// The map as it precedes a file's data in the PAX form 1.0: numbers in lines, filled with zero
/// bytes to a whole block.
pub(super) fn emit(size: u64, map: &[Segment]) -> Vec<u8> {
    let mut text = String::new();
    // A hole at the end has no data behind it that would give the file its length.
    let ends = map.last().is_some_and(|s| s.offset + s.len == size);
    let end = (!ends).then_some(Segment {
        offset: size,
        len: 0,
    });
    let line = |n: u64, text: &mut String| {
        text.push_str(&n.to_string());
        text.push('\n');
    };
    line((map.len() + usize::from(!ends)) as u64, &mut text);
    for segment in map.iter().chain(&end) {
        line(segment.offset, &mut text);
        line(segment.len, &mut text);
    }
    let mut out = text.into_bytes();
    let whole = out.len() as u64 + padding(out.len() as u64);
    out.resize(usize::try_from(whole).unwrap_or(out.len()), 0);
    out
}

/// Reads the PAX form 1.0 from its lines: call with each number until it returns the map.
#[derive(Debug, Default)]
pub(super) struct Lines {
    count: Option<usize>,
    offset: Option<u64>,
    map: Vec<Segment>,
}

impl Lines {
    /// Takes one line without its end; true when the map is complete.
    pub(super) fn parse_line(&mut self, line: &[u8]) -> Result<bool, &'static str> {
        let n = decimal(line).ok_or("a number of a sparse map is none")?;
        match (self.count, self.offset.take()) {
            (None, _) => {
                let count = usize::try_from(n).unwrap_or(usize::MAX);
                if count > SEGMENTS_MAX {
                    return Err("a sparse map has too many segments");
                }
                self.count = Some(count);
            }
            (Some(_), None) => self.offset = Some(n),
            (Some(_), Some(offset)) => self.map.push(Segment { offset, len: n }),
        }
        Ok(self.offset.is_none() && self.count == Some(self.map.len()))
    }

    pub(super) fn into_map(self) -> Vec<Segment> {
        self.map
    }
}

/// The PAX form 0.1: all numbers in one record, parted by commas.
pub(super) fn comma_list(text: &[u8]) -> Result<Vec<Segment>, &'static str> {
    let mut map = Vec::new();
    if text.is_empty() {
        return Ok(map);
    }
    let mut numbers = text.split(|&b| b == b',').map(decimal);
    while let Some(offset) = numbers.next() {
        let (Some(offset), Some(Some(len))) = (offset, numbers.next()) else {
            return Err("a number of a sparse map is none");
        };
        map.push(Segment { offset, len });
    }
    Ok(map)
}

/// Checks a map against the file's length and the bytes that are stored, and leaves out the empty
/// segments that only mark the end.
pub(super) fn check(
    mut map: Vec<Segment>,
    size: u64,
    stored: u64,
) -> Result<Vec<Segment>, &'static str> {
    if map.len() > SEGMENTS_MAX {
        return Err("a sparse map has too many segments");
    }
    if i64::try_from(size).is_err() {
        return Err("the size of a sparse file is too great");
    }
    let mut end = 0;
    let mut sum = 0u64;
    for s in &map {
        if s.offset < end {
            return Err("a sparse map is not in order");
        }
        end = s
            .offset
            .checked_add(s.len)
            .filter(|&end| end <= size)
            .ok_or("a sparse map reaches beyond its file")?;
        sum += s.len;
    }
    if sum != stored {
        return Err("a sparse map does not fit the stored bytes");
    }
    map.retain(|s| s.len > 0);
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seg(offset: u64, len: u64) -> Segment {
        Segment { offset, len }
    }

    #[test]
    fn maps_come_back() {
        for (size, map) in [
            (10 << 20, vec![]),
            (8192, vec![seg(4096, 4096)]),
            (9000, vec![seg(0, 100), seg(4096, 4096)]),
        ] {
            let bytes = emit(size, &map);
            assert_eq!(bytes.len() % 512, 0);
            let mut lines = Lines::default();
            let mut rest = bytes.split(|&b| b == b'\n');
            while !lines.parse_line(rest.next().unwrap()).unwrap() {}
            let stored = map.iter().map(|s| s.len).sum();
            assert_eq!(check(lines.into_map(), size, stored).unwrap(), map);
        }
    }

    #[test]
    fn unsound_maps_are_refused() {
        assert!(check(vec![seg(10, 5), seg(0, 5)], 20, 10).is_err());
        assert!(check(vec![seg(0, 6), seg(5, 5)], 20, 11).is_err());
        assert!(check(vec![seg(18, 5)], 20, 5).is_err());
        assert!(check(vec![seg(u64::MAX, 5)], 20, 5).is_err());
        assert!(check(vec![seg(0, 5)], 20, 6).is_err());
        assert!(comma_list(b"1,2,3").is_err());
        assert!(comma_list(b"1,,3,4").is_err());
        assert_eq!(comma_list(b"1,2,3,4").unwrap(), vec![seg(1, 2), seg(3, 4)]);
        assert!(Lines::default().parse_line(b"1048577").is_err());
    }
}
