// The framer: no zero but between frames, a byte that is offered stays until it is taken, and blocks of 254 bytes at most.
//
// What is in the ring is anything: lengths that firmware would never write included.
module framer_formal (
  input logic clock,
  input logic [15:0] head,
  input logic [31:0] read_data,
  input logic ready
);
  logic [15:0] tail, read_at;
  logic valid;
  logic [7:0] data;
  framer unit (.*);

  localparam FILL = 2, CODE = 3, DATA = 4, DELIMITER = 5; // of the unit's states
  logic [7:0] mark;
  logic started = 0, stalled = 0;
  logic [7:0] offered;
  always_ff @(posedge clock) begin
    mark <= mark;
    started <= 1;
    stalled <= valid & ~ready;
    offered <= data;
  end

  // what comes out: bytes still due of the block whose code was sent
  logic [7:0] due = 0;
  always_ff @(posedge clock) if (valid & ready) begin
    if (unit.state_q == CODE) due <= data - 8'd1;
    else if (unit.state_q == DATA) due <= due - 8'd1;
  end

  always_comb begin
    block_fits: assert (unit.count_q <= 254);
    index_in_block: assert (unit.state_q != DATA | unit.index_q <= unit.count_q);
    // for one place of the block that the solver picks
    block_has_no_zero: assert (mark >= unit.count_q | unit.block.mem[mark] != 0);
    shows_the_byte_at_index: assert (unit.state_q != DATA | unit.index_q == unit.count_q | unit.index_q != mark
                                     | unit.block_read_data == unit.block.mem[mark]);
    if (valid & (unit.state_q != DATA | unit.index_q == mark)) zero_ends_a_frame: assert ((data == 0) == (unit.state_q == DELIMITER));
    if (stalled) offer_is_kept: assert (valid & (data == offered | (unit.state_q == DATA & unit.index_q != mark)));
    code_counts_its_block: assert (unit.state_q == DATA ? due == unit.count_q - unit.index_q : due == 0 | unit.state_q == CODE);
    tail_is_a_word: assert (tail[1:0] == 0);
    sends_a_code: cover (valid & ready & unit.state_q == CODE & data == 4);
    ends_a_frame: cover (valid & ready & unit.state_q == DELIMITER & started);
  end
endmodule
