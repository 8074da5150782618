//! SwinCMS: a JSON REST API server for a university's course management.
//!
//! One axum binary over one PostgreSQL. A request comes in through [`serve`], passes the layers of [`app`], and meets
//! a handler of a domain ([`users`], [`academic`], [`enrollment`], [`core`], [`social`], [`workflows`], [`advisor`], [`privacy`]), whose first argument says who may call it ([`access`]). What
//! endpoints share (routes, bodies, lists, problems, conditions, repeats) is [`http`]; a resource names its columns,
//! fields and rules, and the shared verbs there do the rest. Reads take a connection of the pool, writes go through
//! [`db::write`], and each leaves a row in the [`audit`] log. The command line is [`cli`].

pub mod academic;
pub mod access;
pub mod advisor;
pub mod app;
pub mod audit;
pub mod background;
pub mod backups;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod db;
mod decimals;
pub mod dev_database;
pub mod docs;
pub mod enrollment;
pub mod files;
pub mod health;
pub mod http;
pub mod ids;
pub mod metrics;
pub mod migrate;
pub mod privacy;
pub mod rights;
pub mod serve;
pub mod social;
pub mod sweep;
pub mod telemetry;
pub mod traces;
pub mod users;
pub mod workflows;
