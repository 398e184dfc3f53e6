//! The network between hosts.

/// Something that will happen in the network.
pub enum Event {}

/// What a host gives to the network.
pub enum Out {}
