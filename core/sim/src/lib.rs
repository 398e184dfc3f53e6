//! The deterministic simulator of Mews: whole nodes from one seed, crashed at every effect.

#![forbid(unsafe_code)]

pub mod agree;
pub mod body;
pub mod check;
pub mod client;
pub mod clients;
pub mod cluster;
pub mod database;
pub mod dice;
pub mod disk;
pub mod fault;
pub mod founders;
pub mod history;
pub mod host;
pub mod matrix;
mod nemesis;
pub mod net;
pub mod order;
pub mod planted;
pub mod platter;
pub mod race;
mod rebalance;
pub mod sabotage;
pub mod scenario;
mod scripts;
pub mod sim;
pub mod storm;
pub mod swarm;
pub mod trace;
pub mod workload;
pub mod world;
