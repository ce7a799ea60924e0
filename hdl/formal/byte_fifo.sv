// The UART's FIFO: sixteen bytes at most, none lost, none twice, in order.
//
// Order is shown for one byte that the solver picks: `mark` is a constant of any value, the count modulo 32 at which some byte
// comes in. What holds for it holds for every byte.
module byte_fifo_formal (
  input logic clock,
  input logic in_valid,
  input logic [7:0] in_data,
  input logic out_ready
);
  logic in_ready, out_valid;
  logic [7:0] out_data;
  byte_fifo unit (.*);

  // no initial value: the solver's choice, and kept
  logic [4:0] mark;
  always_ff @(posedge clock) mark <= mark;

  // how many bytes there are, counted apart from the unit's pointers
  logic [5:0] held = 0;
  wire put = in_valid & in_ready;
  wire take = out_ready & out_valid;
  always_ff @(posedge clock) held <= held + put - take;

  logic [7:0] marked;
  always_ff @(posedge clock) if (put & unit.written_q == mark) marked <= in_data;
  wire [4:0] ahead = mark - unit.read_q;
  wire marked_is_in = ahead < held;

  logic was_full = 0, stalled = 0;
  logic [7:0] shown;
  always_ff @(posedge clock) begin
    was_full <= was_full | held == 16;
    stalled <= out_valid & ~out_ready;
    shown <= out_data;
  end

  always_comb begin
    no_overflow: assert (held <= 16);
    no_underflow: assert (~take | held != 0);
    count_is_exact: assert (unit.used == held);
    ready_while_room: assert (in_ready == (held < 16));
    valid_while_held: assert (out_valid == (held != 0));
    if (stalled) offer_is_kept: assert (out_valid & out_data == shown);
    // the induction needs to know where the byte lies meanwhile
    if (marked_is_in) byte_is_kept: assert (unit.memory.mem[mark[3:0]] == marked);
    if (out_valid & unit.read_q == mark) bytes_in_order: assert (out_data == marked);
    becomes_full: cover (held == 16);
    full_then_empty: cover (was_full & held == 0);
    put_and_take_when_one: cover (held == 1 & put & take);
  end
endmodule
