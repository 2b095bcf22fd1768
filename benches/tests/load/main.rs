//! Runs the load generator against servers that answer correctly, wrongly, or not at all.

mod broadcast;
mod churn;
mod deflate;
mod echo;
mod fleet;
mod http;
mod idle;
mod program;
mod servers;
