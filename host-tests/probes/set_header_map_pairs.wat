;; proxy_set_header_map_pairs: replaced maps, broken encodings, bad maps, pointers outside memory, wrong phases.
(module
 (import "env" "proxy_set_header_map_pairs" (func $set (param i32 i32 i32) (result i32)))
 (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 ;; Maps that there are not at this time; those that there are would be empty afterwards.
 (func $each (local $map i32)
  (local.set $map (i32.const 4))
  (loop $next
   (call $put (text "map "))
   (call $put_number (local.get $map))
   (call $told (i32.const 0) (i32.const 0) (call $set (local.get $map) (text "\00\00\00\00")))
   (local.set $map (i32.add (local.get $map) (i32.const 1)))
   (br_if $next (i32.le_u (local.get $map) (i32.const 9)))))
 (func $dump (param $map i32)
  (call $got_pairs (text "now") (call $pairs (local.get $map) (global.get $pointer) (global.get $size))))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end i32) (result i32)
  (if (call $asked (local.get $id) (text "set_header_map_pairs")) (then
   (call $told (text "nowhere") (call $set (i32.const 0) (global.get $nowhere) (i32.const 4)))
   (call $each)
   (call $told (text "count without pairs") (call $set (i32.const 6) (text "\09\00\00\00")))
   (call $told (text "short") (call $set (i32.const 6) (text "\01")))
   (call $told (text "whole") (call $set (i32.const 0) (text "\08\00\00\00\0a\00\00\00\09\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\04\00\00\00\07\00\00\00\04\00\00\00\07\00\00\00\04\00\00\00\07\00\00\00\01\00\00\00\05\00\00\00\01\00\00\00\05\00\00\00\01\00\00\00:authority\00a.example\00:method\00GET\00:path\00/set\00:scheme\00http\00x-probe\00kept\00X-Upper\001\00x-two\001\00x-two\002\00")))
   (call $dump (i32.const 0))))
  (i32.const 0))
 (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)
   (call $told (text "whole") (call $set (i32.const 2) (text "\02\00\00\00\07\00\00\00\03\00\00\00\06\00\00\00\04\00\00\00:status\00201\00x-only\00this\00")))
   (call $dump (i32.const 2))))
  (i32.const 0))
 (func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_trailers") (param $id i32) (param $count i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)
   (call $told (text "whole") (call $set (i32.const 3) (text "\02\00\00\00\04\00\00\00\04\00\00\00\04\00\00\00\03\00\00\00x-t2\00this\00x-t2\00too\00")))
   (call $dump (i32.const 3))))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then
   (call $each))))
)
