//! Several processes of each kind behind a balancer: rolled and killed while clients work.

mod deaths;
mod leaving;
mod rolling;
mod support;
