# Exits with 1 where timing is missed, or where the clock is another one than was planned.
#   vivado -mode batch -source check_timing.tcl      (after build_bitstream.tcl)
set here [file dirname [file normalize [info script]]]
set name << name >>
set planned_mhz << planned_mhz >>

open_project [file join $here work project $name.xpr]
open_run impl_1
report_timing_summary -file [file join $here timing_summary.txt]
report_utilization -file [file join $here utilization.txt]
set mhz [expr {1000.0 / [get_property PERIOD [get_clocks << ps.timing_clock >>]]}]
set met [expr {abs($mhz / $planned_mhz - 1.0) < 0.002}]
set report [open [file join $here timing.txt] w]
puts $report "clock_mhz [format %.6f $mhz]"
foreach {word statistic} {setup_slack_ns WNS hold_slack_ns WHS pulse_slack_ns TPWS} {
  set slack [get_property STATS.$statistic [get_runs impl_1]]
  puts $report "$word $slack"
  # No number at all is no timing that is met.
  if {![string is double -strict $slack] || $slack < 0} {
    set met 0
  }
}
puts $report "met $met"
close $report
close_project
exit [expr {$met ? 0 : 1}]
