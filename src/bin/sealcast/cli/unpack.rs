//! Options of `sealcast unpack`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use sealcast::tree::Range;

use super::value;
use super::xattrs::XattrArgs;

/// Restore a tree from an archive.
///
/// Reads an archive of `sealcast pack` from standard input, or one of GNU tar or bsdtar, with or
/// without zstd, and restores its tree as DIR. The tree grows in a private directory. It takes its
/// place at the very end, when the whole archive has been read and is correct. After an earlier
/// error, DIR is as it was.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("target").required(true).args(["directory", "image"]))]
pub(crate) struct UnpackArgs {
    /// The directory that will hold the tree; it is made if it is not there.
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Restore a disk image to TARGET, a block device or the name of a file, instead of a tree.
    ///
    /// The archive must hold one regular file and nothing else, as those of `sealcast pack --image`
    /// do. A file appears when all of it is correct. A device must be large enough and not in use.
    /// Its first MiB and the MiB where the image ends are filled with zero bytes at the start, and
    /// written at the very end, so that an incomplete image does not boot.
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["merge", "no_devices", "no_setuid",
          "no_xattrs", "xattrs_include", "xattrs_exclude", "no_same_owner", "max_entries",
          "max_memory", "map_owner"])]
    pub(crate) image: Option<PathBuf>,
    /// Replace what DIR holds; it is removed when the new tree is complete.
    ///
    /// With --image, replace the file TARGET in one step when the new one is complete. What a
    /// device holds is always replaced.
    #[arg(long, conflicts_with = "merge")]
    pub(crate) replace: bool,
    /// Add the tree to what DIR holds; files of the same names are replaced.
    ///
    /// A directory does not replace a file, and a file does not replace a directory: `unpack`
    /// refuses such an archive before it changes anything. It moves the entries into place one
    /// after the other.
    #[arg(long)]
    pub(crate) merge: bool,
    /// Keep the incomplete tree or file when something goes wrong, and say where it is.
    ///
    /// When a signal ends the run, it is kept as well, but without a message. It is beside the
    /// target, hidden, with a name that ends in .partial.
    #[arg(long)]
    pub(crate) keep_partial: bool,
    /// Restore owner and group FROM of the archive as TO; may be given several times.
    ///
    /// With COUNT, this many numbers from FROM on become those from TO on, as in a user namespace.
    /// Users and groups are mapped in the same way, and so are those in access lists and
    /// capabilities. Ranges must not overlap, neither in the archive nor here. An owner in no range
    /// is then an error.
    #[arg(long, value_name = "FROM:TO[:COUNT]", value_parser = value::owners)]
    pub(crate) map_owner: Vec<Range>,
    /// Make everything belong to this user and group, also for root.
    ///
    /// Set-user-id and set-group-id bits are left out where the archive has another owner. Root of
    /// a user namespace needs this, or --map-owner, for owners that have no number there.
    #[arg(long, conflicts_with = "map_owner")]
    pub(crate) no_same_owner: bool,
    /// Leave device nodes out.
    #[arg(long)]
    pub(crate) no_devices: bool,
    /// Leave set-user-id and set-group-id bits and file capabilities out.
    #[arg(long)]
    pub(crate) no_setuid: bool,
    /// Leave extended attributes out, and with them access lists, capabilities and labels.
    #[arg(long)]
    pub(crate) no_xattrs: bool,
    #[command(flatten)]
    pub(crate) xattrs: XattrArgs,
    /// Do not wait until the tree is on the disk.
    ///
    /// Without this, the tree takes its place only after the file system has written it to the
    /// disk, so that a power failure leaves either the old state or the new one. In the same way,
    /// the first MiB of a device is written only after all others are on it.
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Refuse an archive with more than BYTES of file content, holes not counted; units are K, M, G
    /// and T.
    #[arg(long, value_name = "BYTES", value_parser = value::bytes)]
    pub(crate) max_bytes: Option<u64>,
    /// Refuse an archive with more than N entries.
    #[arg(long, value_name = "N", default_value_t = 1 << 24)]
    pub(crate) max_entries: u64,
    /// Refuse an archive whose entries take more than BYTES of memory; units are K, M, G and T.
    ///
    /// `unpack` keeps something of each entry to the end: 40 bytes, and for a directory 40 bytes
    /// more, its name and its attributes. Beside that, it needs up to 300 MiB to decompress.
    #[arg(long, value_name = "BYTES", value_parser = value::bytes, default_value = "512M")]
    pub(crate) max_memory: u64,
}
