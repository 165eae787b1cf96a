//! Options of `sealcast unpack`.

use std::path::PathBuf;

use clap::Args;

use super::value;

/// Restore a tree from an archive.
///
/// Reads an archive of `sealcast pack` from standard input, or one of GNU tar or bsdtar, with or
/// without zstd, and restores its tree as DIR. The tree grows in a private directory and takes its
/// place at the very end, when the whole archive has been read and found good; whatever goes wrong
/// before that leaves DIR as it was.
#[derive(Args, Debug)]
pub(crate) struct UnpackArgs {
    /// The directory that will hold the tree; it is made if it is not there.
    #[arg(short = 'C', long, value_name = "DIR", required = true)]
    pub(crate) directory: PathBuf,
    /// Replace what DIR holds; it is removed when the new tree is complete.
    #[arg(long, conflicts_with = "merge")]
    pub(crate) replace: bool,
    /// Add the tree to what DIR holds; files of the same names are replaced.
    ///
    /// A directory does not replace a file nor a file a directory; such an archive is refused
    /// before anything is changed. The entries are moved into place one after the other.
    #[arg(long)]
    pub(crate) merge: bool,
    /// Keep the incomplete tree when something goes wrong, and say where it is.
    #[arg(long)]
    pub(crate) keep_partial: bool,
    /// Leave device nodes out.
    #[arg(long)]
    pub(crate) no_devices: bool,
    /// Leave set-user-id and set-group-id bits and file capabilities out.
    #[arg(long)]
    pub(crate) no_setuid: bool,
    /// Leave extended attributes out, and with them access lists, capabilities and labels.
    #[arg(long)]
    pub(crate) no_xattrs: bool,
    /// Do not wait until the tree is on the disk.
    ///
    /// Without this, the tree takes its place only after the file system has written it out, so
    /// that a power failure leaves either the old state or the new one.
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Refuse an archive with more than BYTES of file content, holes not counted; K, M, G and T
    /// are understood.
    #[arg(long, value_name = "BYTES", value_parser = value::bytes)]
    pub(crate) max_bytes: Option<u64>,
    /// Refuse an archive with more than N entries; each takes about 50 bytes of memory.
    #[arg(long, value_name = "N", default_value_t = 1 << 24)]
    pub(crate) max_entries: u64,
}
