//! Sizes of a machine. A result never depends on them (contract 1); what fits and how fast it runs does.

/// Everything that a host must know about a device to plan memory for it, and that `hdl` needs to build one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    /// N: the systolic array has N×N processing elements and every memory plane N banks. A power of two, 2..=16.
    pub lanes: u32,
    /// V: lanes of the vector engine. A power of two, `2 <= V <= N`.
    pub vector_lanes: u32,
    /// L: cycles of the array's adder, 2..=4, by which its rows are skewed. More make a faster clock and slower thin products.
    pub adder_latency: u32,
    /// Cycles from a read's grant to its data, 2..=4. A large FPGA needs more than two: 3 puts a register between the rows of an
    /// access and the banks, 4 another one between the banks and whoever asked. Reads and writes stay in order. The soft core's
    /// way to its slaves is longer by as much, since it is the same device.
    pub memory_latency: u32,
    /// FP16 elements in `hmem`, both planes together. A multiple of `2 * lanes`.
    pub hmem_words: u32,
    /// FP32 elements in `smem`, both planes together. A multiple of `2 * lanes`.
    pub smem_words: u32,
    /// Bits in the ReLU mask memory. A multiple of `lanes`.
    pub mask_bits: u32,
    /// 32-bit words of program memory.
    pub pmem_words: u32,
    /// Rows of the accumulator memory (each row is N FP32 partial sums). A power of two, at most 256.
    pub acc_rows: u32,
    /// Bytes of firmware RAM. A multiple of 4.
    pub firmware_bytes: u32,
    /// Bytes in the receive ring. A power of two.
    pub rx_ring_bytes: u32,
    /// Bytes in the transmit ring. A power of two.
    pub tx_ring_bytes: u32,
}

impl Machine {
    /// The machine that the simulator builds when nothing else is asked for: N = V = 8.
    pub const DEFAULT: Machine = Machine {
        lanes: 8,
        vector_lanes: 8,
        adder_latency: 3,
        memory_latency: 2,
        hmem_words: 1 << 17,
        smem_words: 1 << 16,
        mask_bits: 1 << 15,
        pmem_words: 1 << 15,
        acc_rows: 256,
        firmware_bytes: 64 << 10,
        rx_ring_bytes: 8 << 10,
        tx_ring_bytes: 4 << 10,
    };

    /// The default machine with another array size; vector lanes follow, up to 8.
    pub const fn with_lanes(lanes: u32) -> Machine {
        Machine { lanes, vector_lanes: if lanes < 8 { lanes } else { 8 }, ..Machine::DEFAULT }
    }

    /// Lanes and latencies in one word, as register [`crate::regs::LANES`] and the hello say them.
    pub const fn size_word(&self) -> u32 {
        self.lanes | self.vector_lanes << 8 | self.adder_latency << 16 | self.memory_latency << 24
    }

    /// FP16 elements in one plane of `hmem`.
    pub const fn hmem_plane(&self) -> u32 {
        self.hmem_words / 2
    }

    /// FP32 elements in one plane of `smem`.
    pub const fn smem_plane(&self) -> u32 {
        self.smem_words / 2
    }

    /// The first rule that these sizes break, in words, or `None` where all hold.
    pub const fn invalid(&self) -> Option<&'static str> {
        let n = self.lanes;
        if !(n.is_power_of_two() && n >= 2 && n <= 16) {
            return Some("lanes must be 2, 4, 8 or 16");
        }
        if !(self.vector_lanes.is_power_of_two() && self.vector_lanes >= 2 && self.vector_lanes <= n) {
            return Some("vector lanes must be a power of two between 2 and the array's lanes");
        }
        if self.adder_latency < 2 || self.adder_latency > 4 {
            return Some("the array's adder takes 2, 3 or 4 cycles");
        }
        if self.memory_latency < 2 || self.memory_latency > 4 {
            return Some("the memories answer after 2, 3 or 4 cycles");
        }
        if self.hmem_words == 0 || self.hmem_words % (2 * n) != 0 || self.hmem_words > 1 << 20 {
            return Some("hmem words must be a multiple of 2*lanes, at most 2^20");
        }
        if self.smem_words == 0 || self.smem_words % (2 * n) != 0 || self.smem_words > 1 << 20 {
            return Some("smem words must be a multiple of 2*lanes, at most 2^20");
        }
        if self.mask_bits == 0 || self.mask_bits % n != 0 || self.mask_bits > 1 << 19 {
            return Some("mask bits must be a multiple of lanes, at most 2^19");
        }
        if self.pmem_words < 256 || self.pmem_words > 1 << 16 {
            return Some("program memory must hold 256 to 65536 words");
        }
        if !(self.acc_rows.is_power_of_two() && self.acc_rows >= 16 && self.acc_rows <= 256) {
            return Some("accumulator rows must be a power of two, 16..=256");
        }
        if self.firmware_bytes % 4 != 0 || self.firmware_bytes < 16 << 10 {
            return Some("firmware RAM must be a multiple of 4 bytes, at least 16 KiB");
        }
        if !(self.rx_ring_bytes.is_power_of_two() && self.rx_ring_bytes >= 4096 && self.rx_ring_bytes <= 32768) {
            return Some("the receive ring must be a power of two, 4..=32 KiB");
        }
        if !(self.tx_ring_bytes.is_power_of_two() && self.tx_ring_bytes >= 4096 && self.tx_ring_bytes <= 32768) {
            return Some("the transmit ring must be a power of two, 4..=32 KiB");
        }
        None
    }
}
