// The adder of a PE: partial sums stay in their form, whatever is added.
//
// `sum_form` is the invariant that flows down a column. A finite sum is zero or a multiple of 2^-48, so it never needs a
// subnormal; and its exponent stays below 2^57 or does not grow: there a product, less than 2^32, is less than half of the last
// place, so it rounds away. It is shown for one addition from *any* sum in that form, and so holds at every depth of every product.
//
// The adder is a pipeline without feedback: as many cycles as it takes show all that it can do.
module psum_add_formal #(parameter L = 3) (
  input logic clock,
  input logic [31:0] x,
  input logic [31:0] y
);
  logic [31:0] z;
  psum_add unit (.*);

  // Where the last place of the fraction lies: bit e of the weight 2^(exp - 50 - 23 + e); the lowest that may be set is 2^-48.
  function automatic logic on_grid(input logic [31:0] v);
    return v[29:23] >= 25 | (v[29:23] >= 2 & (v[22:0] & ((24'd1 << (25 - v[29:23])) - 24'd1)) == 0);
  endfunction
  // Special: exponent and fraction are zero but for NaN's top bit. No number: a fraction needs an exponent.
  function automatic logic sum_form(input logic [31:0] v);
    return v[31] ? v[29:23] == 0 & v[21:0] == 0 & ~(v[22] & v[30])
                 : v[29:0] == 0 | (v[29:23] != 0 & on_grid(v));
  endfunction
  // At most 65504 squared, a significand of 22 bits; NaN without a sign is not asked of a product.
  function automatic logic product_form(input logic [31:0] v);
    return v[1:0] == 0 & (v[31] ? v[29:23] == 0 & v[21:0] == 0
                                : v[29:0] == 0 | (on_grid(v) & v[29:0] <= {7'd81, 23'h7fc004}));
  endfunction
  function automatic logic any_sum(input logic [31:0] v);
    return v[31] ? v[29:23] == 0 & v[21:0] == 0 & ~(v[22] & v[30]) : v[29:0] == 0 | v[29:23] != 0;
  endfunction

  // operands of the sum that comes out now
  logic [31:0] xs [0:L], ys [0:L];
  logic [2:0] age = 0;
  assign xs[0] = x;
  assign ys[0] = y;
  for (genvar i = 0; i < L; i++) always_ff @(posedge clock) begin
    xs[i + 1] <= xs[i];
    ys[i + 1] <= ys[i];
  end
  always_ff @(posedge clock) if (age != L) age <= age + 1;
  wire [31:0] a = xs[L], p = ys[L];
  wire there = age == L;
  wire finite = ~a[31] & ~p[31];
  localparam logic [6:0] TOP = 106; // 2^56 up to 2^57

  always_comb begin
    if (there & sum_form(a) & product_form(p)) begin
      sum_keeps_its_form: assert (sum_form(z));
      if (finite) begin
        finite_stays_finite: assert (~z[31]);
        if (a[29:23] <= TOP) exponent_is_bounded: assert (z[29:23] <= TOP);
        else large_sum_does_not_grow: assert (z[29:0] <= a[29:0]);
      end else begin
        special_stays_special: assert (z[31]);
      end
      if (a[31] & a[22] | p[31] & p[22]) nan_is_kept: assert (z == 32'h80400000);
      cancels_to_zero: cover (finite & a[29:0] != 0 & z[29:0] == 0);
      smallest_sum: cover (finite & z[29:0] == {7'd2, 23'd0} & a[29:23] > 18);
      reaches_the_top: cover (finite & a[29:23] < TOP & z[29:23] == TOP);
      infinities_meet: cover (a[31] & p[31] & ~a[22] & ~p[22] & z[22]);
    end
    // Padding: +0 times -0 is -0, and that changes no bit of any sum. Here the grid is not asked for.
    if (there & any_sum(a) & p == 32'h40000000) begin
      minus_zero_changes_nothing: assert (z == a);
      pads_minus_zero: cover (a == 32'h40000000);
      pads_infinity: cover (a == 32'h80000000);
    end
  end
endmodule
