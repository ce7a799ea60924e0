// The segment queue and the fetcher's handshakes: four segments at most, each once and in order; stacks that neither overflow nor
// underflow; twelve words to an engine, one at a time, none lost while the mover borrows the memory's port.
//
// Program memory answers a cycle later: shown for one address that the solver picks, whose word stays the same. Segments likewise: one
// that is `mark`-th, modulo four rounds of the queue.
//
// Of engines, mover, control and program nothing is assumed.
module fetcher_formal (
  input logic clock,
  input logic [16:0] limit,
  input logic abort, stop, push,
  input logic [31:0] push_address,
  input logic [3:0] push_mask, flags,
  input logic areg_we,
  input logic [3:0] areg_index,
  input logic [19:0] areg_wdata,
  input logic [31:0] word,
  input logic read_req,
  input logic [15:0] read_address,
  input logic m_ready, v_ready,
  input logic [7:0] m_done, v_done
);
  logic [19:0] areg_rdata;
  logic [15:0] word_address, iw_pc, trap_pc;
  logic read_gnt, m_valid, m_issue, v_valid, iw_wm_en, iw_wv_en, busy, full, running, stopped, segment_start, segment_end, trap;
  logic [7:0] m_issued, iw_wm, iw_wv, ended, skipped, trap_cause;
  logic [31:0] iw_data, trap_info;
  fetcher unit (.*);

  localparam WORDS = 3, STOPPED = 7; // of the unit's states

  // the memory: one word of it is known
  logic [15:0] place, asked = 0;
  logic [31:0] content;
  logic started = 0;
  always_ff @(posedge clock) begin
    {place, content} <= {place, content};
    asked <= word_address;
    started <= 1;
  end
  always_comb if (started & asked == place) assume (word == content);

  // the queue beside the unit's: how many, and the marked segment
  logic [2:0] held = 0;
  logic [3:0] pushes = 0, pops = 0, mark;
  logic [20:0] marked;
  wire put = push & held != 4 & ~abort;
  wire take = unit.pop;
  wire [20:0] entry = {push_mask, push_address[31:16] != 0, push_address[15:0]};
  wire [3:0] ahead = mark - pops;
  always_ff @(posedge clock) begin
    mark <= mark;
    if (abort) begin
      held <= 0;
      pops <= pushes;
    end else begin
      held <= held + 3'(put) - 3'(take);
      pushes <= pushes + 4'(put);
      pops <= pops + 4'(take);
    end
    if (put & pushes == mark) marked <= entry;
  end

  // words that an engine took of the instruction at hand
  logic [3:0] given = 0;
  logic waited = 0;
  logic [16:0] pc_was;
  wire moves = m_valid & m_ready | v_valid & v_ready;
  wire offers = m_valid | v_valid;
  always_ff @(posedge clock) begin
    given <= abort | stop | unit.fault != 0 ? 4'd0 : ~moves ? given : given == 11 ? 4'd0 : given + 4'd1;
    waited <= offers & ~moves & ~abort & ~stop;
    pc_was <= unit.pc_q;
  end

  always_comb begin
    no_overflow: assert (held <= 4);
    queue_count: assert (unit.queue_count_q == held & held == 4'(pushes - pops));
    queue_places: assert (unit.queue_tail_q == pushes[1:0] & unit.queue_head_q == pops[1:0]);
    no_underflow: assert (~take | held != 0);
    full_is_four: assert (full == (held == 4));
    if (ahead < {1'b0, held}) segment_is_kept: assert (unit.queue.mem[mark[1:0]] == marked);
    if (take & pops == mark) segments_in_order: assert (unit.entry == marked);

    // below none would be seven
    loops_fit: assert (unit.loop_depth_q <= 4);
    calls_fit: assert (unit.call_depth_q <= 4);

    one_engine_at_a_time: assert (~(m_valid & v_valid));
    nothing_while_stopped: assert (~(offers & stopped));
    if (unit.state_q == WORDS) twelve_words: assert (unit.index_q == given & given != 0 & given <= 11);
    else between_instructions: assert (given == 0 | unit.state_q == STOPPED);
    issue_is_the_twelfth: assert (~m_issue | (m_valid & m_ready & given == 11));
    if (waited) refused_word_stays: assert (unit.pc_q == pc_was);

    if (unit.have_q & started) word_is_the_one_at_pc: assert (asked == unit.pc_q[15:0]);
    if (unit.consume & unit.pc_q[15:0] == place & started) consumes_the_programs_word: assert (word == content);
    if (offers) offers_from_the_program: assert (iw_pc == unit.pc_q[15:0] & ~unit.beyond);
    grant_is_asked: assert (~read_gnt | (read_req & word_address == read_address));
    grant_costs_no_word: assert (~(read_gnt & unit.consume));
    mover_has_the_port_when_idle: assert (~read_req | running | read_gnt);

    queue_is_full: cover (held == 4);
    a_matrix_instruction_goes: cover (m_issue);
    port_is_lent_inside: cover (unit.state_q == WORDS & read_gnt & given == 5);
    trap_of_a_stack: cover (trap & trap_cause == 3);
  end
endmodule
