// The adder with a start value as the array's edge makes it, and a sum as the array's other edge reads it.
module adder_context (
  input  logic clock,
  input  logic [31:0] single,
  input  logic [31:0] y,
  output logic [31:0] sum
);
  logic [31:0] x;
  logic [31:0] z;
  encode encode_unit (.single(single), .psum(x));
  add add_unit (.clock(clock), .x(x), .y(y), .z(z));
  decode decode_unit (.psum(z), .single(sum));
endmodule
