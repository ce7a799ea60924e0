//! x
pub struct Device;
