// The deframer: whatever bytes come, the ring gets nothing but whole frames whose CRC is right, and nothing that firmware still
// holds is overwritten.
//
// Beside the unit runs a COBS decoder and a CRC of the standard's definition: a frame is good if its last four bytes are the CRC of
// those before them. The unit instead watches for the residue that a good frame leaves. That every word of a frame reaches its
// place is shown for one word that the solver picks, `mark`.
//
// Assumed of firmware: the tail moves by whole words, and only over frames that are there.
module deframer_formal #(parameter RING = 8192) (
  input logic clock,
  input logic valid,
  input logic [7:0] data,
  input logic [15:0] release_bytes
);
  localparam logic [15:0] MASK = RING - 1;
  localparam logic [15:0] MIN = 8, MAX = 2304 + 4; // decoded bytes, CRC included
  logic [15:0] head, damaged, overflowed, write_at;
  logic write;
  logic [31:0] write_data;
  logic [15:0] tail = 0;
  deframer unit (.*);

  wire [15:0] used = (head - tail) & MASK;
  always_ff @(posedge clock) tail <= (tail + release_bytes) & MASK;
  always_comb begin
    assume (release_bytes[1:0] == 0 & release_bytes <= used);
  end

  // COBS as its authors describe it: a code says how many bytes follow it; a zero stands between blocks, but not after a full one
  logic in_frame = 0, zero_due = 0;
  logic [7:0] left = 0;
  wire ends = valid & data == 0;
  wire code = valid & data != 0 & left == 0;
  wire emits = valid & data != 0 & (left != 0 | zero_due);
  wire [7:0] octet = left != 0 ? data : 8'd0;
  always_ff @(posedge clock) begin
    if (ends) {in_frame, zero_due, left} <= 0;
    else if (code) {in_frame, zero_due, left} <= {1'b1, data != 255, data - 8'd1};
    else if (emits) left <= left - 8'd1;
  end

  function automatic logic [31:0] crc_step(input logic [31:0] crc, input logic [7:0] b);
    logic [31:0] c;
    c = crc ^ {24'd0, b};
    for (int i = 0; i < 8; i++) c = c[0] ? (c >> 1) ^ 32'hedb88320 : c >> 1;
    return c;
  endfunction

  // The last four bytes, and the CRC register after all bytes, after all but the last, … and, `crc[4]`, before the last four. At first
  // as if four zeros had come before the frame, and had left the register as a frame finds it, all ones.
  localparam logic [31:0] START [0:4] = '{32'hffffffff, 32'hf0958fd9, 32'h9a1c9d90, 32'ha32e2681, 32'h9226f562};
  logic [31:0] last = 0;
  logic [31:0] crc [0:4] = START;
  logic [15:0] count = 0;
  wire [31:0] last_then = {octet, last[31:8]};
  always_ff @(posedge clock) begin
    if (ends) begin
      crc <= START;
      last <= 0;
      count <= 0;
    end else if (emits) begin
      crc[0] <= crc_step(crc[0], octet);
      for (int i = 1; i < 5; i++) crc[i] <= crc[i - 1];
      last <= last_then;
      if (~count[15]) count <= count + 16'd1;
    end
  end
  // That the last four bytes are the CRC of those before is one thing with the unit's residue, shown a byte at a time: what the
  // register must be before the last i bytes, for it to end as that residue.
  localparam logic [31:0] ENDS [0:4] = '{32'hdebb20e3, 32'h00be26ed, 32'hbe26ed00, 32'h2dfd1072, 32'hffffffff};
  logic [4:0] fits;
  for (genvar i = 0; i < 5; i++) assign fits[i] = crc[i] == (ENDS[i] ^ 32'({32'd0, last} >> (32 - 8 * i)));
  wire good = in_frame & left == 0 & count >= MIN & count <= MAX & last == ~crc[4];

  // the marked word
  logic [13:0] mark;
  always_ff @(posedge clock) mark <= mark;
  wire [15:0] mark_at = (head + 16'd4 + {mark, 2'd0}) & MASK;
  wire marked = emits & count[1:0] == 3 & count[15:2] == mark & ~count[15];
  logic landed = 0;
  always_ff @(posedge clock) begin
    if (ends) landed <= 0;
    else if (marked) landed <= write & write_at == mark_at & write_data == last_then;
  end

  logic [15:0] head_then;
  logic [15:0] damaged_then, overflowed_then;
  logic ended = 0, was_good, was_frame, started = 0;
  logic [15:0] old_count;
  always_ff @(posedge clock) begin
    started <= 1;
    {head_then, damaged_then, overflowed_then} <= {head, damaged, overflowed};
    {ended, was_good, was_frame, old_count} <= {ends, good, in_frame, count};
  end
  wire moved = head != head_then;
  wire is_damaged = damaged != damaged_then, is_overflowed = overflowed != overflowed_then;
  wire [15:0] offset = (write_at - head) & MASK;
  wire [15:0] words = {count[15:2], 2'd0};

  always_comb begin
    // what induction needs: the unit's registers are the harness'
    same_cobs: assert (unit.started_q == in_frame & unit.remaining_q == left & zero_due == (in_frame & ~unit.full_block_q));
    idle_between: assert (in_frame | (left == 0 & count == 0 & ~zero_due & ~unit.no_room_q & last == 0 & crc[4] == START[4]));
    same_bytes: assert (unit.length_q == count & count <= 16'h8000);
    same_word: assert (count < 4 | unit.word_q == last);
    same_short_word: assert ((count < 3 | unit.word_q[31:8] == last[31:8]) & (count < 2 | unit.word_q[31:16] == last[31:16]) & (count < 1 | unit.word_q[31:24] == last[31:24]));
    same_crc: assert (unit.crc_q == ~crc[0]);
    crc_is_a_chain: assert (crc[0] == crc_step(crc[1], last[31:24]) & crc[1] == crc_step(crc[2], last[23:16])
                            & crc[2] == crc_step(crc[3], last[15:8]) & crc[3] == crc_step(crc[4], last[7:0]));
    residue_0: assert (fits[0] == fits[1]);
    residue_1: assert (fits[1] == fits[2]);
    residue_2: assert (fits[2] == fits[3]);
    residue_3: assert (fits[3] == fits[4] & fits[4] == (last == ~crc[4]));
    head_is_a_word: assert (head[1:0] == 0 & head <= MASK & tail[1:0] == 0 & tail <= MASK);
    room_was_there: assert (unit.no_room_q | count < 4 | {1'b0, used} + words + 8 <= RING);
    marked_is_there: assert (unit.no_room_q | count < {mark, 2'd0} + 17'd4 | count > MAX | landed);
    landed_is_past: assert (~landed | (count >= {mark, 2'd0} + 17'd4 & {mark, 2'd0} < MAX & {1'b0, used} + {mark, 2'd0} + 12 <= RING));

    if (write) begin
      writes_words: assert (write_at[1:0] == 0 & write_at <= MASK);
      never_over_held_frames: assert ({1'b0, used} + offset + 8 <= RING);
      never_past_a_frame: assert (offset <= 16'd4 + MAX - 16'd4);
      never_twice: assert (~(landed & ~ends & write_at == mark_at));
    end
    if (started & moved) begin
      only_at_the_end: assert (ended & was_frame);
      only_good_frames: assert (was_good);
      by_its_length: assert (head == ((head_then + 16'd4 + ((old_count - 16'd1) & 16'hfffc)) & MASK));
    end
    // a frame that ends is accepted, or counted once
    if (started) one_fate: assert (2'(moved) + 2'(is_damaged) + 2'(is_overflowed) == 2'(ended & was_frame));
    if (started & ended & was_frame & ~was_good) bad_is_counted: assert (is_damaged);
    if (ends & in_frame & unit.sound & ~unit.no_room_q) begin
      length_is_written: assert (write & write_at == head & write_data == {16'd0, count - 16'd4});
      content_is_there: assert ({mark, 2'd0} >= count - 16'd4 | landed);
      never_full: assert ({1'b0, used} + 4 + ((count - 16'd1) & 16'hfffc) < RING);
    end
    accepts_a_frame: cover (started & moved);
    counts_a_damaged_one: cover (started & is_damaged & old_count > 8);
    full_block: cover (in_frame & ~zero_due & left == 254);
    frame_after_a_frame: cover (started & moved & head_then != 0);
  end
  // a ring that is full within a few bytes
  if (RING <= 16) begin : tiny
    always_comb counts_one_without_room: cover (started & is_overflowed);
  end
endmodule
