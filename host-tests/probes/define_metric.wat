;; proxy_define_metric: the three kinds and a fourth, twice the same name, an empty one, pointers outside memory.
(module
 (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "define_metric")) (then
   (call $told (text "counter") (call $define (i32.const 0) (text "probe.defined.counter") (global.get $number)))
   (call $told (text "gauge") (call $define (i32.const 1) (text "probe.defined.gauge") (global.get $number)))
   (call $told (text "histogram") (call $define (i32.const 2) (text "probe.defined.histogram") (global.get $number)))
   (call $told (text "fourth") (call $define (i32.const 3) (text "probe.defined.fourth") (global.get $number)))
   (call $told (text "kind -1") (call $define (i32.const -1) (text "x") (global.get $number)))
   (call $told (text "again") (call $define (i32.const 0) (text "probe.defined.counter") (global.get $number)))
   (call $told (text "same name, other kind") (call $define (i32.const 1) (text "probe.defined.counter") (global.get $number)))
   (call $told (text "name nowhere") (call $define (i32.const 0) (global.get $nowhere) (i32.const 1) (global.get $number)))
   (call $told (text "id nowhere") (call $define (i32.const 0) (text "probe.defined.lost") (global.get $nowhere)))))
  (i32.const 0))
)
