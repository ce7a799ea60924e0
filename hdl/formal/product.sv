// The product of a PE: exact, in the adder's form, and -0 where a lane is padded.
//
// Both operands come as FP16 and go through the units that recode them, so that nothing is assumed of operand form: it is what
// FP16 numbers become. The value is compared as an integer: a significand times a power of two on either side, 2^-48 the unit.
module product_formal (
  input logic clock,
  input logic [15:0] x,
  input logic [15:0] w
);
  logic [19:0] a, b, a_out;
  logic [31:0] p;
  recode recode_x (.half(x), .operand(a));
  recode recode_w (.half(w), .operand(b));
  product unit (.*);

  localparam LATENCY = 3;
  logic [15:0] xs [0:LATENCY], ws [0:LATENCY];
  logic [1:0] age = 0;
  assign xs[0] = x;
  assign ws[0] = w;
  for (genvar i = 0; i < LATENCY; i++) always_ff @(posedge clock) begin
    xs[i + 1] <= xs[i];
    ws[i + 1] <= ws[i];
  end
  always_ff @(posedge clock) if (age != LATENCY) age <= age + 2'd1;
  wire there = age == LATENCY;
  wire [15:0] u = xs[LATENCY], v = ws[LATENCY];

  // FP16 as IEEE 754 has it: significand and exponent of its last place, from 2^-24 up
  function automatic logic [10:0] sig(input logic [15:0] h);
    return {h[14:10] != 0, h[9:0]};
  endfunction
  function automatic logic [4:0] place(input logic [15:0] h);
    return h[14:10] == 0 ? 5'd0 : h[14:10] - 5'd1;
  endfunction
  function automatic logic same_number(input logic [15:0] h, input logic [19:0] o);
    return o[18] == (h[14:0] == 15'h7c00) & o[19] == (h[14:0] > 15'h7c00) & o[17] == h[15]
         & (h[14:10] == 31 ? o[10] : {h[14:0] == 0, ~o[10], o[16:11] == 0, o[10:0] == 0} inside {4'd0, 4'd15}
              & (h[14:0] == 0 | {53'd0, o[10:0]} << (o[16:11] - 6'd1) == {53'd0, sig(h)} << (place(h) + 6'd10)));
  endfunction
  wire inf_u = u[14:0] == 15'h7c00, inf_v = v[14:0] == 15'h7c00;
  wire nan_u = u[14:0] > 15'h7c00, nan_v = v[14:0] > 15'h7c00;
  wire zero_u = u[14:0] == 0, zero_v = v[14:0] == 0;
  wire finite = u[14:10] != 31 & v[14:10] != 31;
  // operands in the multiplier, their product, and that of the sum that comes out now
  logic [21:0] sigs_1, sigs;
  logic [6:0] places_1, places;
  always_ff @(posedge clock) begin
    {sigs_1, sigs} <= {unit.mul_p, sigs_1};
    {places_1, places} <= {7'(unit.a_reg_q[16:11]) + 7'(unit.b_reg_q[16:11]), places_1};
  end
  // sigs * 2^(places - 70), and 1.frac * 2^(exp - 50)
  wire [151:0] exact = {130'd0, sigs} << (8'(places) + 8'd3);
  wire [151:0] given = {128'd0, 1'b1, p[22:0]} << p[29:23];

  always_comb if (there) begin
    sign: assert (p[30] == (u[15] ^ v[15]));
    last_places_are_zero: assert (p[1:0] == 0);
    if (finite) begin
      never_special: assert (~p[31]);
      zero_for_zero: assert ((p[29:0] == 0) == (zero_u | zero_v));
      exponent_for_number: assert (p[29:23] != 0 | p[22:0] == 0);
      if (~zero_u & ~zero_v) exact_value: assert (given == exact);
      never_larger: assert (p[29:0] <= {7'd81, 23'h7fc004});
    end else begin
      special: assert (p[31] & p[29:23] == 0 & p[21:0] == 0);
      nan_where_ieee_has_it: assert (p[22] == (nan_u | nan_v | (inf_u & zero_v) | (zero_u & inf_v)));
    end
    // padding: what streams is +0, what the array holds is -0
    if (u == 16'h0000 & v == 16'h8000) padding_is_minus_zero: assert (p == 32'h40000000);
    // at least 1.0 times 1.0, and at most the largest times the largest
    normal_product: assert (zero_u | zero_v | ~finite | sigs[21:20] != 0);
    bounded_product: assert (sigs <= 22'd4190209);
    smallest: cover (p[29:0] == {7'd2, 23'd0});
    largest: cover (p[29:0] == {7'd81, 23'h7fc004});
    zero_times_infinity: cover (zero_u & inf_v);
    padding: cover (u == 16'h0000 & v == 16'h8000);
  end
  always_comb begin
    recodes_x: assert (same_number(x, a));
    recodes_w: assert (same_number(w, b));
    multiplies: assert (unit.mul_p == {11'd0, unit.mul_a} * {11'd0, unit.mul_b});
  end
endmodule
