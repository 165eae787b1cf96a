//! Options that choose extended attributes.

use std::ffi::OsString;

use clap::Args;

/// Which extended attributes are kept.
#[derive(Args, Debug)]
pub(crate) struct XattrArgs {
    /// Keep only extended attributes whose names match GLOB; may be given several times.
    ///
    /// GLOB is as for `sealcast pack --exclude`; `*` keeps all. Without this option, those are left
    /// out by which a file system shows what is its own: names that begin with afs., btrfs., ceph.,
    /// cifs., lustre., system.nfs4, system.ntfs_ and the like.
    #[arg(long, value_name = "GLOB")]
    pub(crate) xattrs_include: Vec<OsString>,
    /// Leave out extended attributes whose names match GLOB; may be given several times.
    #[arg(long, value_name = "GLOB")]
    pub(crate) xattrs_exclude: Vec<OsString>,
}
