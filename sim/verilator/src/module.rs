//! A loaded model.

use crate::ffi::{Calls, Handle, RawPort, WriteCoverage, write_coverage};
use crate::ports::{Port, PortInfo};
use crate::{Error, Result, coverage};
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

/// Where a port's value lies.
#[derive(Clone, Copy)]
struct Slot {
    data: *mut c_void,
    width: u32,
    mask: u64,
}

/// An instance of a design, with a context of its own: several live side by side, each may move between threads.
///
/// A design that calls `$stop` or `$fatal`, or cannot read a memory file, fails: at creation as an error, later by a panic in the
/// method that clocks it, or as an error from [`Module::try_tick`]. After `$finish` clocking does nothing;
/// see [`Module::finished`].
pub struct Module {
    pub(crate) calls: Calls,
    pub(crate) model: Handle,
    slots: Vec<Slot>,
    infos: Vec<PortInfo>,
    clocks: Vec<Port>,
    cycles: *const u64,
    pub(crate) top: String,
    pub(crate) can_trace: bool,
    write_coverage: Option<WriteCoverage>,
    coverage: Option<PathBuf>,
    /// Last, so that the code outlives the model.
    _library: Library,
}

// SAFETY: the model has its own VerilatedContext and is only reached through this handle; Verilator's code keeps no
// thread-local state between calls that it relies on.
unsafe impl Send for Module {}

impl Module {
    /// Loads a shared object that [`crate::Verilator::build`] made, and creates one instance.
    pub fn load(path: &Path) -> Result<Module> {
        Module::load_with::<&str>(path, &[])
    }

    /// As [`Module::load`], with plusargs such as `+firmware=/path/image.hex`.
    pub fn load_with<S: AsRef<str>>(path: &Path, plusargs: &[S]) -> Result<Module> {
        let bad = |reason: String| Error::Load { path: path.into(), reason };
        let arguments = std::iter::once("systole")
            .chain(plusargs.iter().map(AsRef::as_ref))
            .map(|a| CString::new(a).map_err(|_| bad(format!("plusarg {a:?} holds a NUL"))))
            .collect::<Result<Vec<CString>>>()?;
        let pointers: Vec<*const c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
        // SAFETY: the file is one that `build` made and whose stamp was checked, or the caller's word for it; its
        // initialisers are those of Verilator's runtime.
        let library = unsafe { Library::new(path) }.map_err(|e| bad(e.to_string()))?;
        let calls = Calls::resolve(&library).map_err(bad)?;
        // SAFETY: the arguments outlive the call; what the shim returns lives as long as the model, and as the library, which
        // is dropped after it.
        unsafe {
            let model = (calls.new)(pointers.len() as c_int, pointers.as_ptr());
            let raw = std::slice::from_raw_parts((calls.ports)(model), (calls.port_count)() as usize);
            let mask = |width: u32| {
                if width >= 64 { u64::MAX } else { (1 << width) - 1 }
            };
            let module = Module {
                slots: raw.iter().map(|p| Slot { data: p.data, width: p.width, mask: mask(p.width) }).collect(),
                infos: raw.iter().map(RawPort::describe).collect(),
                clocks: (0..(calls.clock_count)()).map(|i| Port((calls.clock)(i))).collect(),
                cycles: (calls.cycles)(model),
                top: CStr::from_ptr((calls.top)()).to_string_lossy().into_owned(),
                can_trace: (calls.can_trace)() != 0,
                calls,
                model,
                write_coverage: write_coverage(&library),
                coverage: None,
                _library: library,
            };
            module.failure().map_or(Ok(module), Err)
        }
    }

    /// When this instance ends, its counts of lines and toggles are added to this process' file in `folder`. A design that
    /// was not built with [`crate::ModelSpec::coverage`] has none.
    pub fn keep_coverage(&mut self, folder: &Path) {
        self.coverage = Some(folder.into());
    }

    /// The top module's name.
    pub fn top(&self) -> &str {
        &self.top
    }

    /// All ports, in the order of their handles.
    pub fn ports(&self) -> &[PortInfo] {
        &self.infos
    }

    /// The port of this name.
    pub fn port(&self, name: &str) -> Option<Port> {
        self.infos.iter().position(|p| p.name == name).map(|i| Port(i as u32))
    }

    /// The port of this name, or an error that lists the names there are.
    pub fn find(&self, name: &str) -> Result<Port> {
        self.port(name).ok_or_else(|| {
            let known: Vec<&str> = self.infos.iter().map(|p| p.name.as_str()).collect();
            Error::NoSuchPort { top: self.top.clone(), port: name.into(), known: known.join(", ") }
        })
    }

    /// A port's description.
    pub fn info(&self, port: Port) -> &PortInfo {
        &self.infos[port.0 as usize]
    }

    /// The clock ports, in the order of [`crate::ModelSpec::clocks`].
    pub fn clocks(&self) -> &[Port] {
        &self.clocks
    }

    /// Sets a port of at most 64 bits; bits above its width are dropped.
    ///
    /// # Panics
    /// If the port is wider: see [`Module::set_wide`].
    #[inline]
    pub fn set(&mut self, port: Port, value: u64) {
        let slot = self.slots[port.0 as usize];
        let value = value & slot.mask;
        // SAFETY: the shim gave this address with this width, and Verilator's type follows from the width.
        unsafe {
            match slot.width {
                0..=8 => *slot.data.cast::<u8>() = value as u8,
                9..=16 => *slot.data.cast::<u16>() = value as u16,
                17..=32 => *slot.data.cast::<u32>() = value as u32,
                33..=64 => *slot.data.cast::<u64>() = value,
                _ => self.too_wide(port),
            }
        }
    }

    /// The value of a port of at most 64 bits.
    ///
    /// # Panics
    /// If the port is wider: see [`Module::get_wide`].
    #[inline]
    pub fn get(&self, port: Port) -> u64 {
        let slot = self.slots[port.0 as usize];
        // SAFETY: as in `set`.
        unsafe {
            match slot.width {
                0..=8 => u64::from(*slot.data.cast::<u8>()),
                9..=16 => u64::from(*slot.data.cast::<u16>()),
                17..=32 => u64::from(*slot.data.cast::<u32>()),
                33..=64 => *slot.data.cast::<u64>(),
                _ => self.too_wide(port),
            }
        }
    }

    #[cold]
    fn too_wide(&self, port: Port) -> ! {
        let info = self.info(port);
        panic!("port `{}` of `{}` has {} bits: use set_wide and get_wide", info.name, self.top, info.width)
    }

    /// Sets a port of any width from 32-bit words, least significant first. Missing words are zero, bits above its width are
    /// dropped.
    pub fn set_wide(&mut self, port: Port, words: &[u32]) {
        let word = |i: usize| words.get(i).copied().unwrap_or(0);
        let slot = self.slots[port.0 as usize];
        if slot.width <= 64 {
            return self.set(port, u64::from(word(0)) | u64::from(word(1)) << 32);
        }
        let count = slot.width.div_ceil(32) as usize;
        // SAFETY: a wide port is an array of this many 32-bit words.
        let target = unsafe { std::slice::from_raw_parts_mut(slot.data.cast::<u32>(), count) };
        target.iter_mut().enumerate().for_each(|(i, t)| *t = word(i));
        if !slot.width.is_multiple_of(32) {
            target[count - 1] &= (1 << (slot.width % 32)) - 1;
        }
    }

    /// The value of a port of any width, in 32-bit words, least significant first.
    pub fn get_wide(&self, port: Port) -> Vec<u32> {
        let slot = self.slots[port.0 as usize];
        let count = slot.width.div_ceil(32) as usize;
        if slot.width <= 64 {
            let value = self.get(port);
            return [value as u32, (value >> 32) as u32][..count].to_vec();
        }
        // SAFETY: as in `set_wide`.
        unsafe { std::slice::from_raw_parts(slot.data.cast::<u32>(), count) }.to_vec()
    }

    /// Settles the design after its inputs changed.
    ///
    /// # Panics
    /// If the design fails.
    #[inline]
    pub fn eval(&mut self) {
        // SAFETY: the handle is alive until drop.
        if unsafe { (self.calls.eval)(self.model) } > 1 {
            self.fail();
        }
    }

    /// One cycle of the first clock: low, settle, high, settle.
    ///
    /// # Panics
    /// If the design fails or was built without a clock.
    #[inline]
    pub fn tick(&mut self) {
        self.tick_many(1);
    }

    /// `count` cycles of the first clock.
    ///
    /// # Panics
    /// As [`Module::tick`].
    #[inline]
    pub fn tick_many(&mut self, count: u64) {
        self.tick_clock(self.clocks[0], count);
    }

    /// `count` cycles of one of several clocks.
    ///
    /// # Panics
    /// If the design fails, or the port is not one bit wide.
    #[inline]
    pub fn tick_clock(&mut self, clock: Port, count: u64) {
        self.check_clock(clock);
        // SAFETY: the handle is alive, the clock is a port of one bit.
        if unsafe { (self.calls.tick)(self.model, clock.0, count) } > 1 {
            self.fail();
        }
    }

    /// `count` cycles of the first clock; a failing design is an error, with the cycle it failed in.
    pub fn try_tick(&mut self, count: u64) -> Result<()> {
        let clock = self.clocks[0];
        // SAFETY: as in `tick_clock`.
        let state = unsafe { (self.calls.tick)(self.model, clock.0, count) };
        if state > 1 { Err(self.failure().expect("the model says that it failed")) } else { Ok(()) }
    }

    /// Ticks the first clock until a port of at most 64 bits has a value. Returns whether it came within `limit` cycles;
    /// 0 cycles if it is there already.
    ///
    /// # Panics
    /// If the design fails, or the port is wider.
    pub fn tick_until(&mut self, port: Port, value: u64, limit: u64) -> bool {
        if self.slots[port.0 as usize].width > 64 {
            self.too_wide(port);
        }
        let clock = self.clocks[0];
        // SAFETY: handle, clock and port are this model's; the port fits one word.
        let met = unsafe { (self.calls.tick_until)(self.model, clock.0, port.0, value, limit) } != 0;
        // SAFETY: as above.
        if unsafe { (self.calls.state)(self.model) } > 1 {
            self.fail();
        }
        met
    }

    /// Pushes one vector a cycle through the design, in C++, and returns what comes out.
    ///
    /// A vector takes, for each input in order, [`PortInfo::words`] words (least significant first); the same holds for
    /// outputs. In each cycle the inputs are set, the low clock settles, the outputs are read and the clock rises.
    /// `latency` is the number of rising edges between a vector's inputs and its outputs: 0 for combinational logic, L for L
    /// registers. `clock` may be `None` for a design without one.
    ///
    /// # Panics
    /// If the design fails, or `stimuli` is not a whole number of vectors.
    pub fn run_vectors(
        &mut self,
        clock: impl Into<Option<Port>>,
        inputs: &[Port],
        outputs: &[Port],
        stimuli: &[u64],
        latency: u64,
    ) -> Vec<u64> {
        let words = |ports: &[Port]| ports.iter().map(|p| self.info(*p).words()).sum::<usize>();
        let (width_in, width_out) = (words(inputs), words(outputs));
        assert!(
            width_in > 0 && stimuli.len().is_multiple_of(width_in),
            "{} stimulus words are not vectors of {width_in}",
            stimuli.len()
        );
        let clock = clock.into();
        clock.into_iter().for_each(|c| self.check_clock(c));
        let vectors = stimuli.len() / width_in;
        let mut responses = vec![0; vectors * width_out];
        let index = |ports: &[Port]| ports.iter().map(|p| p.0).collect::<Vec<u32>>();
        let (inputs, outputs) = (index(inputs), index(outputs));
        // SAFETY: all indices were looked up above, and both buffers hold the words that the loop reads and writes.
        let state = unsafe {
            (self.calls.run_vectors)(
                self.model,
                clock.map_or(u32::MAX, |c| c.0),
                inputs.as_ptr(),
                inputs.len(),
                outputs.as_ptr(),
                outputs.len(),
                stimuli.as_ptr(),
                vectors as u64,
                latency,
                responses.as_mut_ptr(),
            )
        };
        if state > 1 {
            self.fail();
        }
        responses
    }

    fn check_clock(&self, clock: Port) {
        let width = self.slots[clock.0 as usize].width;
        assert!(width == 1, "port `{}` of `{}` has {width} bits: not a clock", self.info(clock).name, self.top);
    }

    /// Ticks since the model was created, of all clocks together.
    #[inline]
    pub fn cycles(&self) -> u64 {
        // SAFETY: the counter lives as long as the model.
        unsafe { *self.cycles }
    }

    /// Whether the design has called `$finish`.
    pub fn finished(&self) -> bool {
        // SAFETY: the handle is alive.
        unsafe { (self.calls.state)(self.model) == 1 }
    }

    /// Why the design failed, if it has.
    pub fn failure(&self) -> Option<Error> {
        // SAFETY: the handle is alive; the message is a C string that lasts until the next call.
        unsafe {
            ((self.calls.state)(self.model) > 1).then(|| Error::Simulation {
                top: self.top.clone(),
                cycle: self.cycles(),
                message: CStr::from_ptr((self.calls.message)(self.model)).to_string_lossy().into_owned(),
            })
        }
    }

    #[cold]
    fn fail(&self) -> ! {
        panic!("{}", self.failure().expect("the model says that it failed"))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let (Some(write), Some(folder)) = (self.write_coverage, &self.coverage) {
            // SAFETY: the handle is alive, the path a C string.
            let written = coverage::add(folder, &self.top, |path| unsafe { write(self.model, path.as_ptr()) });
            if let Err(e) = written {
                eprintln!("warning: no counts of lines and toggles in {}: {e}", folder.display());
            }
        }
        // SAFETY: the handle is alive and not used again.
        unsafe { (self.calls.free)(self.model) }
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("top", &self.top).field("cycles", &self.cycles()).finish_non_exhaustive()
    }
}
