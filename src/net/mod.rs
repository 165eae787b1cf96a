//! Sockets and routes.

mod error;
mod probe;
mod route;
mod socket;

pub use error::Error;
pub use probe::probe;
pub use socket::{
    Addressing, Buffers, Destination, GROUP_DEFAULT, GROUP6_DEFAULT, Link, NetConfig, PORT_DEFAULT,
    RECEIVE_BUFFER_SMALL, ReceiverSockets, ip_udp_len, mtu_to, send_error,
};
