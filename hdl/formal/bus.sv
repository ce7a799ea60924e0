// The soft core's bus: each request is answered once, by the slave that its address names, one cycle after the slave saw it.
//
// Assumed of the core, as Wishbone asks: a request stays as it is until it is acknowledged.
module bus_formal (
  input logic clock,
  input logic i_request,
  input logic i_burst,
  input logic [29:0] i_address,
  input logic d_request,
  input logic d_write,
  input logic [29:0] d_address,
  input logic [3:0] d_select,
  input logic [31:0] ram_rdata, control_rdata, mover_rdata, link_rdata, rx_rdata
);
  logic [29:0] i_fetch;
  logic i_ack, d_ack, ram, we, sel_control, sel_mover, sel_link, sel_board, rx_read, tx_write;
  logic [3:0] ram_write;
  logic [11:0] addr;
  logic [15:0] ring_at;
  logic [31:0] d_rdata;
  bus unit (.*);

  logic started = 0, i_was, d_was, d_ack_was, i_ack_was, d_write_was, i_burst_was;
  logic [29:0] d_address_was, i_address_was, i_fetch_was;
  logic [3:0] d_select_was;
  logic [6:0] selected_was;
  wire [6:0] selected = {ram, sel_control, sel_mover, sel_link, sel_board, rx_read, tx_write};
  always_ff @(posedge clock) begin
    started <= 1;
    {i_was, d_was, d_ack_was, i_ack_was, d_write_was, i_burst_was} <= {i_request, d_request, d_ack, i_ack, d_write, i_burst};
    {d_address_was, i_address_was, d_select_was, i_fetch_was} <= {d_address, i_address, d_select, i_fetch};
    selected_was <= selected;
  end
  always_comb if (started) begin
    if (d_was & ~d_ack_was) assume (d_request & d_address == d_address_was & d_write == d_write_was & d_select == d_select_was);
    if (i_was & ~i_ack_was) assume (i_request & i_address == i_address_was & i_burst == i_burst_was);
    // a burst's next word follows the one that was acknowledged
    if (i_was & i_ack_was & i_burst_was) assume (i_request & i_address == i_address_was + 30'd1);
  end

  // the memory map, as isa has it: bit 31 of the byte address set: not RAM; then pages of 64 kB, blocks of 256 bytes
  wire mmio = d_address[29];
  wire [1:0] page = d_address[15:14];
  wire [3:0] part = d_address[9:6];
  wire new_request = d_request & ~d_ack;

  always_comb begin
    one_slave: assert ($onehot0(selected));
    none_without_request: assert (new_request | selected == 0);
    ram_by_address: assert (ram == (new_request & ~mmio));
    control_by_address: assert (sel_control == (new_request & mmio & page == 0 & part < 3));
    mover_by_address: assert (sel_mover == (new_request & mmio & page == 0 & part == 3));
    link_by_address: assert (sel_link == (new_request & mmio & page == 0 & part == 4));
    board_by_address: assert (sel_board == (new_request & mmio & page == 0 & part == 5));
    receive_ring_is_read: assert (rx_read == (new_request & mmio & page == 1 & ~d_write));
    send_ring_is_written: assert (tx_write == (new_request & mmio & page == 2 & d_write));
    bytes_only_for_writes: assert (ram_write == (new_request & ~mmio & d_write ? d_select : 4'd0));
    if (started) begin
      answered_in_the_next_cycle: assert (d_ack == (d_was & ~d_ack_was));
      never_twice_in_a_row: assert (~(d_ack & d_ack_was));
      answer_keeps_the_request: assert (~d_ack | d_request);
      if (d_ack) begin
        from_ram: assert (~selected_was[6] | d_rdata == ram_rdata);
        from_control: assert (~selected_was[5] | d_rdata == control_rdata);
        from_mover: assert (~selected_was[4] | d_rdata == mover_rdata);
        from_link: assert (~selected_was[3] | d_rdata == link_rdata);
        from_ring: assert (~selected_was[1] | d_rdata == rx_rdata);
        from_nobody: assert ((selected_was & 7'b1111010) != 0 | d_rdata == 0);
      end
      fetch_is_answered: assert (~i_was | i_ack_was | i_ack);
      fetch_without_request: assert (i_was | ~i_ack);
      // what is acknowledged is what the RAM was asked for
      if (i_ack & i_request) fetched_word_is_right: assert (i_fetch_was == i_address);
    end
    write_to_ram: cover (started & d_ack & selected_was[6] & d_write_was);
    nobody_answers: cover (started & d_ack & selected_was == 0);
    burst_beside_data: cover (started & d_ack & i_ack & i_ack_was);
  end
endmodule
