// The rings: who is granted a port has it, the bus before the mover, and a word that was written is the word that is read.
//
// Shown for one word of each ring that the solver picks: what it was last given is what every read of it brings, one cycle later. A
// read in the cycle of a write of the same word brings the old one.
module link_formal (
  input logic clock,
  input logic rx_valid,
  input logic [7:0] rx_data,
  input logic tx_ready,
  input logic sel, we,
  input logic [11:0] addr,
  input logic [31:0] wdata,
  input logic bus_read, bus_write, mover_read, mover_write,
  input logic [15:0] bus_read_at, bus_write_at, mover_read_at, mover_write_at,
  input logic [31:0] bus_write_data, mover_write_data, uart_status
);
  logic tx_valid, mover_read_grant, mover_write_grant;
  logic [7:0] tx_data;
  logic [31:0] rdata, ring_data, uart_divisor;
  link unit (.*);

  localparam RX = 8192, TX = 4096;
  logic [10:0] rx_mark;
  logic [9:0] tx_mark;
  always_ff @(posedge clock) {rx_mark, tx_mark} <= {rx_mark, tx_mark};

  // addresses inside of a ring, as the bus' decoder and the mover make them
  always_comb begin
    assume (bus_read_at[1:0] == 0 & bus_write_at[1:0] == 0 & mover_read_at[1:0] == 0 & mover_write_at[1:0] == 0);
  end

  logic rx_known = 0, tx_known = 0;
  logic [31:0] rx_word, tx_word;
  wire rx_put = unit.deframer_write & unit.deframer_write_at[12:2] == rx_mark;
  wire tx_put_bus = bus_write & bus_write_at[11:2] == tx_mark;
  wire tx_put_mover = mover_write_grant & mover_write_at[11:2] == tx_mark;
  logic rx_asked = 0, tx_asked = 0;
  logic [31:0] rx_due, tx_due;
  always_ff @(posedge clock) begin
    if (rx_put) {rx_known, rx_word} <= {1'b1, unit.deframer_write_data};
    if (tx_put_bus) {tx_known, tx_word} <= {1'b1, bus_write_data};
    else if (tx_put_mover) {tx_known, tx_word} <= {1'b1, mover_write_data};
    rx_asked <= rx_known & (bus_read ? bus_read_at[12:2] == rx_mark : mover_read_grant & mover_read_at[12:2] == rx_mark);
    tx_asked <= tx_known & unit.framer_read_at[11:2] == tx_mark;
    rx_due <= rx_word;
    tx_due <= tx_word;
  end

  always_comb begin
    read_grant_is_asked: assert (~mover_read_grant | mover_read);
    write_grant_is_asked: assert (~mover_write_grant | mover_write);
    bus_reads_first: assert (~(mover_read_grant & bus_read));
    bus_writes_first: assert (~(mover_write_grant & bus_write));
    mover_reads_else: assert (bus_read | ~mover_read | mover_read_grant);
    mover_writes_else: assert (bus_write | ~mover_write | mover_write_grant);
    receive_ring_keeps: assert (~rx_known | unit.rx_ring.mem[rx_mark] == rx_word);
    send_ring_keeps: assert (~tx_known | unit.tx_ring.mem[tx_mark] == tx_word);
    receive_ring_answers: assert (~rx_asked | ring_data == rx_due);
    send_ring_answers: assert (~tx_asked | unit.tx_ring_read_data == tx_due);
    pointers_are_words: assert (unit.tail_q[1:0] == 0 & unit.tail_q < RX & unit.head_q[1:0] == 0 & unit.head_q < TX);
    both_want_to_write: cover (bus_write & mover_write);
    word_of_a_frame_is_read: cover (rx_asked);
    framer_reads_what_the_mover_wrote: cover (tx_asked & tx_due == 32'h01020304);
  end
endmodule
