# Packages the accelerator as an IP for the block design.
#   vivado -mode batch -source build_ip.tcl
set here [file dirname [file normalize [info script]]]
set rtl [file join $here rtl]
set ip [file join $here work ip]

file delete -force $ip
create_project -force -part << part >> bnn_overlay_ip [file join $here work ip_project]
<% for source in sources %>
add_files -norecurse [file join $rtl << source >>]
<% endfor %>
set_property file_type SystemVerilog [get_files *.sv]
set_property top << top >> [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $ip -vendor << vendor >> -library << library >> -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name << ip_name >> $core
set_property version << ip_version >> $core
set_property display_name "Bitsiege << model >>" $core
set_property description "Design << design_hash >>" $core
set_property supported_families {zynq Production zynquplus Production} $core
foreach bus {s_axil m_axi} {
  ipx::associate_bus_interfaces -busif $bus -clock clk $core
}
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
