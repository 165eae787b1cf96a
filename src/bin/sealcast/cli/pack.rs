//! Options of `sealcast pack`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::value;
use super::xattrs::XattrArgs;

/// Stream a tree as a compressed archive.
///
/// Writes the tree at PATH to standard output as a tar archive in zstd frames, which `sealcast
/// unpack`, `zstd -d | tar x` and other tools restore. The archive keeps hard links, holes, device
/// nodes, extended attributes, access lists, capabilities, labels, numeric owners, and times with
/// nanoseconds. The same tree gives the same bytes.
#[derive(Args, Debug)]
pub(crate) struct PackArgs {
    /// One directory, whose contents are packed, or several paths, which keep their names.
    ///
    /// With a single directory the archive holds its contents, with names relative to it, and its
    /// own metadata. With several paths, or one that is no directory, each is packed under its own
    /// name without leading slashes, as tar does.
    #[arg(value_name = "PATH", required_unless_present_any = ["image", "files_from"])]
    pub(crate) paths: Vec<PathBuf>,
    /// Pack the block device or disk image SOURCE instead of a tree.
    ///
    /// The archive holds one file with the last part of SOURCE as its name, which `sealcast unpack
    /// --image` restores to a device or a file. The holes of a file are left out. Runs of zero
    /// bytes take almost no space. If the image changes while it is read, or a part of it cannot be
    /// read, `pack` ends at once with an error.
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["paths", "files_from", "directory",
          "exclude", "exclude_from", "dereference", "one_file_system", "numeric_owner",
          "clamp_mtime", "xattrs_include", "xattrs_exclude"])]
    pub(crate) image: Option<PathBuf>,
    /// Pack the paths in FILE as well, one a line; may be given several times.
    ///
    /// `-` is standard input. A line is a name exactly as it is. Empty lines are ignored. A
    /// directory is packed with everything below it. All paths keep their names, in the order of a
    /// walk over the tree. A path that is listed twice, or is in a listed directory, is packed
    /// once. `pack` names a missing path, counts it in the archive, and ends with status 1.
    #[arg(short = 'T', long, value_name = "FILE")]
    pub(crate) files_from: Vec<PathBuf>,
    /// Names in the files of -T end in a zero byte, not a newline, as `find -print0` writes them.
    #[arg(short = '0', long, requires = "files_from")]
    pub(crate) null: bool,
    /// Go into DIR first: relative paths begin there.
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Write to FILE, which appears when it is complete, instead of standard output.
    ///
    /// `-` is standard output, even when that is a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Leave out what GLOB matches, with everything below it; may be given several times.
    ///
    /// This also holds when a PATH or a list begins below it. In GLOB, `*` and `?` stand for bytes
    /// other than a slash, `**` for any bytes, and `[...]` for one byte of a set. A backslash takes
    /// the next byte as it is.
    ///
    /// A pattern without a slash is compared with the last part of each name. A pattern with a
    /// slash is compared with the whole name in the archive; a leading slash means the root of the
    /// archive. A slash at the end matches directories only.
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<OsString>,
    /// Leave out what the patterns in FILE match, one a line; may be given several times.
    ///
    /// Blank lines, and lines that begin with `#`, are ignored; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Stay on the file system of each PATH; mount points are packed as empty directories.
    ///
    /// A directory of the same file system that is mounted a second time, as `mount --bind` does,
    /// is a mount point too.
    #[arg(long)]
    pub(crate) one_file_system: bool,
    /// Pack what symbolic links lead to in place of the links.
    ///
    /// A file that is reached by several ways is packed once, and the other ways become hard links.
    /// A link that leads nowhere, or to a directory that it is in, counts as an error. This is the
    /// -h of tar.
    #[arg(short = 'L', long)]
    pub(crate) dereference: bool,
    #[command(flatten)]
    pub(crate) xattrs: XattrArgs,
    /// Leave the names of owners and groups out; their numbers are always there.
    #[arg(long)]
    pub(crate) numeric_owner: bool,
    /// Pack times of modification later than SECONDS since 1970 as that time.
    ///
    /// SECONDS may be negative and begin with `@`. The archive is then the same, no matter when its
    /// files were made; see $SOURCE_DATE_EPOCH.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true,
          value_parser = value::unix_seconds)]
    pub(crate) clamp_mtime: Option<i64>,
    /// Compress at level N, from 1 (fast) to 19 (small).
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) level: i32,
    /// Compress in frames of 64 MiB, not 16, and find repetitions all over them.
    ///
    /// The archive becomes smaller and takes two to three times as long to compress. Packing then
    /// needs some 140 MiB of memory, and 100 MiB more for each thread. Unpacking needs no more
    /// memory than without this option.
    #[arg(long)]
    pub(crate) long: bool,
    /// Compress as hard as a network of RATE leaves time for, such as 100M or 1G.
    ///
    /// RATE is in bits a second, as for `sealcast cast --rate`. The level depends only on RATE and
    /// on the number of threads.
    #[arg(long, value_name = "RATE", value_parser = value::bits_per_s, conflicts_with = "level")]
    pub(crate) rate: Option<u64>,
    /// Compress as hard as the output leaves time for, frame by frame.
    ///
    /// `pack` measures how long compressing and writing take, and chooses the level with which the
    /// archive is through first. Its bytes are then not the same every time.
    #[arg(long, conflicts_with_all = ["level", "long", "rate"])]
    pub(crate) adapt: bool,
    /// Compress on N threads; the default is the number of processors.
    ///
    /// Each takes about 35 MiB of memory. The number does not change the archive.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Stop at the first object that cannot be packed as it is.
    ///
    /// Without this, a file that changes while it is read is cut or filled with zero bytes to the
    /// size it had, and a file that cannot be read is left out. `pack` names each of them, counts
    /// it in the archive, and ends with status 1.
    #[arg(long)]
    pub(crate) strict: bool,
}
