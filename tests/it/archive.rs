//! The archive against GNU tar and zstd, and against hostile input.
