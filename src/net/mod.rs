//! Sockets and routes.

mod error;
mod probe;
mod receiver;
mod route;
mod sender;
mod socket;

pub use error::Error;
pub use probe::probe;
pub use receiver::{JoinedGroup, ReceiverSockets};
pub use route::is_down;
pub use sender::{Addressing, AnswerPort, Destination, Link};
pub use socket::{
    Buffers, GROUP_DEFAULT, GROUP6_DEFAULT, NetConfig, PORT_DEFAULT, RECEIVE_BUFFER_SMALL,
    ip_udp_len, mtu_to, send_error,
};
