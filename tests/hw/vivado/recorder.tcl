# Stands in for Vivado: tclsh recorder.tcl -mode batch ... -source SCRIPT
#
# Every command that the scripts may use is recorded, any other one is an error. It behaves like Vivado where the
# next script depends on it: projects, packaged IPs and bitstreams are files, and what is not there can't be opened.
# Environment: RECORDER_LOG is the file of the calls; RECORDER_FAULT names what goes wrong.
set auto_noexec 1
set auto_noload 1
set fault [expr {[info exists env(RECORDER_FAULT)] ? $env(RECORDER_FAULT) : ""}]
set script [lindex $argv [expr {[lsearch -exact $argv -source] + 1}]]
set log [open $env(RECORDER_LOG) a]
fconfigure $log -translation lf
set root [file dirname [file normalize $script]]
set project ""
set period 10.0

proc record {args} {
  set words [lmap word $args {string map [list $::root \$HERE \n { }] $word}]
  puts $::log [join $words \x1f]
}
# Words without switches; those in $valued take the next word with them.
proc operands {words {valued {}}} {
  set found {}
  for {set i 0} {$i < [llength $words]} {incr i} {
    set word [lindex $words $i]
    if {$word in $valued} {
      incr i
    } elseif {![string match -* $word]} {
      lappend found $word
    }
  }
  return $found
}
proc touch {file text} {
  file mkdir [file dirname $file]
  set handle [open $file w]
  puts $handle $text
  close $handle
}
proc need_project {} {
  if {$::project eq ""} {
    error "no project is open"
  }
}

record # [file tail $script]
namespace eval ipx {}

foreach name {
  ipx::associate_bus_interfaces ipx::update_checksums ipx::check_integrity update_compile_order
  update_ip_catalog create_bd_design apply_bd_automation connect_bd_net connect_bd_intf_net assign_bd_address
  exclude_bd_addr_seg validate_bd_design save_bd_design generate_target reset_run wait_on_run open_run
  report_timing_summary report_utilization
} {
  proc $name {args} "need_project; record $name {*}\$args"
}
foreach name {
  get_files get_bd_cells get_bd_pins get_bd_intf_pins get_bd_addr_spaces get_bd_addr_segs get_runs get_clocks
  current_project current_fileset ipx::current_core
} {
  proc $name {args} "need_project; set found \[operands \$args\]; expr {\$found eq {} ? {$name} : \$found}"
}
proc create_project {args} {
  record create_project {*}$args
  lassign [operands $args -part] name folder
  set ::project [file join $folder $name.xpr]
  touch $::project $name
}
proc open_project {file} {
  record open_project $file
  if {![file exists $file]} {
    error "$file does not exist"
  }
  set ::project $file
}
proc close_project {} {
  need_project
  record close_project
  set ::project ""
}
proc add_files {args} {
  need_project
  record add_files {*}$args
  foreach file [operands $args -fileset] {
    if {![file exists $file]} {
      error "$file does not exist"
    }
  }
}
proc set_property {args} {
  need_project
  if {[llength $args] != 3} {
    error "set_property takes three words, not [llength $args]"
  }
  record set_property {*}[lmap word $args {string trim [regsub -all {\s+} $word { }]}]
}
proc get_board_parts {args} {
  return [expr {$::fault eq "no-board-files" ? {} : [operands $args]}]
}
proc get_ipdefs {args} {
  set found {}
  foreach known {
    xilinx.com:ip:processing_system7:5.5 xilinx.com:ip:zynq_ultra_ps_e:3.4 xilinx.com:ip:zynq_ultra_ps_e:3.5
    xilinx.com:ip:proc_sys_reset:5.0 xilinx.com:ip:axi_interconnect:2.1
  } {
    if {[string match [operands $args] $known]} {
      lappend found $known
    }
  }
  return $found
}
proc create_bd_cell {args} {
  need_project
  record create_bd_cell {*}$args
  set vlnv [lindex $args [expr {[lsearch -exact $args -vlnv] + 1}]]
  if {![string match xilinx.com:* $vlnv] && ![file exists [file join $::root work ip component.xml]]} {
    error "no IP $vlnv is in the catalogue"
  }
  return [lindex $args end]
}
proc make_wrapper {args} {
  need_project
  record make_wrapper {*}$args
  set file [file join [file dirname $::project] wrapper.v]
  touch $file ""
  return $file
}
proc ipx::package_project {args} {
  need_project
  record ipx::package_project {*}$args
}
proc ipx::save_core {args} {
  record ipx::save_core {*}$args
  touch [file join $::root work ip component.xml] ""
}
proc launch_runs {run args} {
  need_project
  record launch_runs $run {*}$args
  switch $::fault {
    full { puts "write error: No space left on device"; exit 1 }
    crash { puts "Abnormal program termination (11)"; exit 134 }
    hang { after 60000 }
  }
  if {$run eq "impl_1" && $::fault ne "no-bitstream"} {
    set name [file rootname [file tail $::project]]
    foreach kind {bit bin} {
      touch [file join $::root work run ${name}_wrapper.$kind] "no bitstream, but a stand-in for one"
    }
  }
}
proc get_property {name object} {
  need_project
  switch $name {
    PROGRESS { return [expr {$::fault eq "synthesis" ? "40%" : "100%"}] }
    STATUS { return "synth_design ERROR" }
    DIRECTORY { return [file join $::root work run] }
    STATS.WNS { return [expr {$::fault eq "timing" ? -0.312 : 0.125}] }
    STATS.WHS { return 0.031 }
    STATS.TPWS { return [expr {$::fault eq "no-slack" ? "" : 0.0}] }
    PERIOD {
      set planned [lindex [split $::env(RECORDER_MHZ)] 0]
      return [expr {1000.0 / $planned * ($::fault eq "clock" ? 0.8 : 1.0)}]
    }
  }
  error "no property $name"
}
rename exit leave
proc exit {{status 0}} {
  record exit $status
  close $::log
  leave $status
}

if {[catch {source $script} message options]} {
  puts "ERROR: $message"
  puts [dict get $options -errorinfo]
  close $log
  leave 1
}
close $log
