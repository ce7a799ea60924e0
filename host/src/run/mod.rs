//! A training run from start to end.
//!
//! | module | what it does |
//! |---|---|
//! | [`options`] | what to train, on what, how; checked before anything starts |
//! | [`folder`] | `runs/<name>/`: metrics, configuration, checkpoint |
//! | [`events`] | TensorBoard's event files |
//! | [`checkpoint`] | weights, optimizer, scaler and position in one safetensors file |
//! | [`resume`] | what must hold before a run is continued |
//! | [`facts`] | settings, identity of data and program |
//! | [`evaluate`] | a checkpoint's loss and accuracy; its weights for others |
//! | [`patience`] | goes on where a device was lost and has come back |
//! | [`samples`] | what a generator makes, as a picture |
//! | [`schedule`] | the learning rate over the updates |
//! | [`report`] | what comes out |
//! | [`train`](fn@train) | the run itself |

pub mod checkpoint;
pub mod evaluate;
pub mod events;
pub mod facts;
pub mod folder;
pub mod options;
pub mod patience;
pub mod report;
pub mod resume;
pub mod samples;
pub mod schedule;
mod training;

pub use options::{LossScale, OptimizerName, ScalerRules, TrainOptions};
pub use patience::train_patiently;
pub use report::{Epoch, PhaseReport, Progress, Silent, Step, TrainReport};
pub(crate) use training::initial_weights;
pub use training::{model_settings, parse_model, prepare, train, train_on};
