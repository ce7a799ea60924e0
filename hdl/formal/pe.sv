// A PE of a padded lane: where +0 meets a stored -0, the sum that passes is not changed in any bit, whatever it is: a number, either
// zero, infinity or NaN.
//
// This is the identity on the whole path: weight store, multiplier, adder, and the cycles between them.
module pe_formal #(parameter L = 3) (
  input logic clock,
  input logic [19:0] act,
  input logic [1:0] tag,
  input logic w_we,
  input logic [1:0] w_slot,
  input logic [19:0] w_data,
  input logic [31:0] psum
);
  logic [19:0] act_out;
  logic [1:0] tag_out;
  logic [31:0] psum_out;
  pe unit (.*);

  localparam P_IN = 3;
  localparam logic [19:0] PLUS_ZERO = 20'h00000, MINUS_ZERO = 20'h20000; // operand form
  function automatic logic any_sum(input logic [31:0] v);
    return v[31] ? v[29:23] == 0 & v[21:0] == 0 & ~(v[22] & v[30]) : v[29:0] == 0 | v[29:23] != 0;
  endfunction

  logic [3:0] age = 0;
  always_ff @(posedge clock) if (age != 15) age <= age + 4'd1;

  // the weight as it was written, apart from the unit's store
  logic [3:0] padded = 0; // by slot
  always_ff @(posedge clock) if (w_we) padded[w_slot] <= w_data == MINUS_ZERO;
  logic [P_IN + L:0] pads = 0;
  logic [31:0] sums [0:L];
  assign sums[0] = psum;
  always_ff @(posedge clock) pads <= {pads[P_IN + L - 1:0], act == PLUS_ZERO & padded[tag]};
  for (genvar i = 0; i < L; i++) always_ff @(posedge clock) sums[i + 1] <= sums[i];

  logic [19:0] act_was;
  logic [1:0] tag_was;
  always_ff @(posedge clock) {act_was, tag_was} <= {act, tag};

  always_comb begin
    store_0: assert (~padded[0] | unit.store.cells[0] == MINUS_ZERO);
    store_1: assert (~padded[1] | unit.store.cells[1] == MINUS_ZERO);
    store_2: assert (~padded[2] | unit.store.cells[2] == MINUS_ZERO);
    store_3: assert (~padded[3] | unit.store.cells[3] == MINUS_ZERO);
    // the product meets the sum that comes P_IN cycles after its activation
    if (pads[P_IN - 1]) product_is_minus_zero: assert (unit.product_p == 32'h40000000);
    if (pads[P_IN + L - 1] & any_sum(sums[L])) sum_is_unchanged: assert (psum_out == sums[L]);
    if (age != 0) passes_on: assert (act_out == act_was & tag_out == tag_was);
    pads_a_number: cover (pads[P_IN + L - 1] & sums[L] == 32'h12345678);
    pads_nan: cover (pads[P_IN + L - 1] & sums[L] == 32'h80400000);
  end
endmodule
