# Project and block design of << name >>:
# the processor reaches the accelerator's registers, the accelerator reaches the memory.
#   vivado -mode batch -source << name >>.tcl      (after build_ip.tcl)
set here [file dirname [file normalize [info script]]]
set name << name >>

# The newest version of one of Vivado's own blocks.
proc latest {block} {
  set found [get_ipdefs -all xilinx.com:ip:$block:*]
  if {[llength $found] == 0} {
    error "this Vivado has no block $block"
  }
  return [lindex [lsort -dictionary $found] end]
}

create_project -force -part << part >> $name [file join $here work project]
<% if board_part %>
if {[llength [get_board_parts -quiet << board_part >>]] == 0} {
  # Source: << board_files >>
  error "this Vivado has no files for the board << board_part >>"
}
set_property board_part << board_part >> [current_project]
<% endif %>
set_property ip_repo_paths [file join $here work ip] [current_project]
update_ip_catalog
add_files -fileset constrs_1 -norecurse [file join $here $name.xdc]
create_bd_design $name

# Blocks
create_bd_cell -type ip -vlnv [latest << ps.ip >>] ps
apply_bd_automation -rule << ps.rule >> -config {
  << automation | join("\n  ") >>
} [get_bd_cells ps]
set_property -dict {
<% for key, value in settings %>
  CONFIG.<< key >> << value >>
<% endfor %>
} [get_bd_cells ps]
create_bd_cell -type ip -vlnv << vendor >>:<< library >>:<< ip_name >>:<< ip_version >> overlay
set_property CONFIG.MEM_DIR "[file join $here rtl]/" [get_bd_cells overlay]
create_bd_cell -type ip -vlnv [latest proc_sys_reset] reset
create_bd_cell -type ip -vlnv [latest axi_interconnect] control
create_bd_cell -type ip -vlnv [latest axi_interconnect] memory
foreach block {control memory} {
  set_property -dict {CONFIG.NUM_SI 1 CONFIG.NUM_MI 1} [get_bd_cells $block]
}

# One clock, and the resets that belong to it
foreach pin {
<% for pin in clocked %>
  << pin >>
<% endfor %>
} {
  connect_bd_net [get_bd_pins ps/<< ps.clock >>] [get_bd_pins $pin]
}
connect_bd_net [get_bd_pins ps/<< ps.reset >>] [get_bd_pins reset/ext_reset_in]
foreach pin {control/ARESETN memory/ARESETN} {
  connect_bd_net [get_bd_pins reset/interconnect_aresetn] [get_bd_pins $pin]
}
foreach pin {
  overlay/rst_n control/S00_ARESETN control/M00_ARESETN memory/S00_ARESETN memory/M00_ARESETN
} {
  connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $pin]
}

# From the processor to the registers, from the accelerator to the memory
foreach {from to} {
  ps/<< ps.control >> control/S00_AXI
  control/M00_AXI overlay/s_axil
  overlay/m_axi memory/S00_AXI
  memory/M00_AXI ps/<< ps.memory >>
} {
  connect_bd_intf_net [get_bd_intf_pins $from] [get_bd_intf_pins $to]
}

# Addresses
assign_bd_address -offset << control_base >> -range << control_bytes >> \
  -target_address_space [get_bd_addr_spaces ps/<< ps.address_space >>] \
  [get_bd_addr_segs overlay/s_axil/reg0]
assign_bd_address -offset 0x0 -range << memory_bytes >> \
  -target_address_space [get_bd_addr_spaces overlay/m_axi] \
  [get_bd_addr_segs ps/<< ps.memory_segment >>]
<% if ps.other_segments %>
foreach segment {<< ps.other_segments | join(" ") >>} {
  foreach found [get_bd_addr_segs -quiet ps/$segment] {
    exclude_bd_addr_seg -target_address_space [get_bd_addr_spaces overlay/m_axi] $found
  }
}
<% endif %>

validate_bd_design
save_bd_design
set design [get_files $name.bd]
generate_target all $design
add_files -norecurse [make_wrapper -files $design -top]
set_property top ${name}_wrapper [current_fileset]
update_compile_order -fileset sources_1
close_project
