//! From arguments to configuration: each command line, read, completed and checked, becomes what
//! the library takes.

pub(crate) mod cast;
pub(crate) mod catch;
mod keys;
pub(crate) mod lists;
pub(crate) mod open;
pub(crate) mod pack;
pub(crate) mod seal;
pub(crate) mod secret;
