//! Runs the load generator against servers that answer rightly, wrongly, or not at all.

mod churn;
mod echo;
mod http;
mod servers;
