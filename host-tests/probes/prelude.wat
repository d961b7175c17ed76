;; What every probe needs; a probe includes it behind its imports. A probe is asleep unless the request says `x-probe: NAME`.
;;
;; Memory: 16..64 what host calls give back, 1024.. texts, 65536.. the line being written, 131072.. one byte a stream (awake or not),
;; 262144.. memory for the host, used round and round.

 (import "env" "proxy_log" (func $proxy_log (param i32 i32 i32) (result i32)))
 (import "env" "proxy_get_header_map_value" (func $proxy_value (param i32 i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 64)
 (global $line (mut i32) (i32.const 65536))
 (global $heap (mut i32) (i32.const 262144))
 (func (export "proxy_abi_version_0_2_1"))

 (func (export "proxy_on_memory_allocate") (param $size i32) (result i32) (local $at i32)
  (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.const 4194304))
   (then (global.set $heap (i32.const 262144))))
  (local.set $at (global.get $heap))
  (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8)))
  (local.get $at))

 ;; Where host calls put a pointer, a size, a number, a long number.
 (global $pointer i32 (i32.const 16))
 (global $size i32 (i32.const 20))
 (global $number i32 (i32.const 24))
 (global $long i32 (i32.const 32))
 ;; An address outside memory.
 (global $nowhere i32 (i32.const 0x7fff0000))

 ;; Writes a text behind the line.
 (func $put (param $at i32) (param $size i32)
  (memory.copy (global.get $line) (local.get $at) (local.get $size))
  (global.set $line (i32.add (global.get $line) (local.get $size))))

 ;; Writes a number behind the line.
 (func $put_long (param $value i64)
  (if (i64.ge_u (local.get $value) (i64.const 10))
   (then (call $put_long (i64.div_u (local.get $value) (i64.const 10)))))
  (i32.store8 (global.get $line) (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $value) (i64.const 10)))))
  (global.set $line (i32.add (global.get $line) (i32.const 1))))
 (func $put_number (param $value i32)
  (call $put_long (i64.extend_i32_u (local.get $value))))

 ;; Logs the line.
 (func $end
  (drop (call $proxy_log (i32.const 2) (i32.const 65536) (i32.sub (global.get $line) (i32.const 65536))))
  (global.set $line (i32.const 65536)))
 (func $say (param $at i32) (param $size i32)
  (call $put (local.get $at) (local.get $size))
  (call $end))

 ;; Logs `TEXT: NUMBER`.
 (func $told (param $at i32) (param $size i32) (param $value i32)
  (call $put (local.get $at) (local.get $size))
  (call $put (text ": "))
  (call $put_number (local.get $value))
  (call $end))
 (func $told_long (param $at i32) (param $size i32) (param $value i64)
  (call $put (local.get $at) (local.get $size))
  (call $put (text ": "))
  (call $put_long (local.get $value))
  (call $end))

 ;; Logs `TEXT: STATUS`, and what the call gave back if it did.
 (func $got (param $at i32) (param $size i32) (param $status i32)
  (call $put (local.get $at) (local.get $size))
  (call $put (text ": "))
  (call $put_number (local.get $status))
  (if (i32.eqz (local.get $status))
   (then
    (call $put (text " `"))
    (call $put (i32.load (global.get $pointer)) (i32.load (global.get $size)))
    (call $put (text "`"))))
  (call $end))
 ;; As $got, with the number that was given back.
 (func $got_number (param $at i32) (param $size i32) (param $status i32)
  (call $put (local.get $at) (local.get $size))
  (call $put (text ": "))
  (call $put_number (local.get $status))
  (if (i32.eqz (local.get $status))
   (then
    (call $put (text " "))
    (call $put_number (i32.load (global.get $number)))))
  (call $end))
 (func $got_long (param $at i32) (param $size i32) (param $status i32)
  (call $put (local.get $at) (local.get $size))
  (call $put (text ": "))
  (call $put_number (local.get $status))
  (if (i32.eqz (local.get $status))
   (then
    (call $put (text " "))
    (call $put_long (i64.load (global.get $long)))))
  (call $end))

 ;; Whether two pieces of memory are alike.
 (func $same (param $left i32) (param $left_size i32) (param $right i32) (param $right_size i32) (result i32)
  (if (i32.ne (local.get $left_size) (local.get $right_size)) (then (return (i32.const 0))))
  (block $done
   (loop $next
    (br_if $done (i32.eqz (local.get $left_size)))
    (if (i32.ne (i32.load8_u (local.get $left)) (i32.load8_u (local.get $right))) (then (return (i32.const 0))))
    (local.set $left (i32.add (local.get $left) (i32.const 1)))
    (local.set $right (i32.add (local.get $right) (i32.const 1)))
    (local.set $left_size (i32.sub (local.get $left_size) (i32.const 1)))
    (br $next)))
  (i32.const 1))

 ;; Whether the stream asks for this probe; for request headers.
 (func $asked (param $id i32) (param $at i32) (param $size i32) (result i32) (local $yes i32)
  (if (i32.eqz (call $proxy_value (i32.const 0) (text "x-probe") (global.get $pointer) (global.get $size)))
   (then
    (local.set $yes
     (call $same (local.get $at) (local.get $size) (i32.load (global.get $pointer)) (i32.load (global.get $size))))))
  (i32.store8 (i32.add (i32.const 131072) (i32.and (local.get $id) (i32.const 4095))) (local.get $yes))
  (local.get $yes))
 ;; Whether it did; for later callbacks.
 (func $awake (param $id i32) (result i32)
  (i32.load8_u (i32.add (i32.const 131072) (i32.and (local.get $id) (i32.const 4095)))))
 ;; Logs `TEXT: STATUS`, and the pairs of a header map that the call gave back.
 (func $got_pairs (param $at i32) (param $size i32) (param $status i32)
  (local $count i32) (local $entry i32) (local $bytes i32)
  (call $put (local.get $at) (local.get $size))
  (call $put (text ": "))
  (call $put_number (local.get $status))
  (if (i32.and (i32.eqz (local.get $status)) (i32.ge_u (i32.load (global.get $size)) (i32.const 4)))
   (then
    (local.set $entry (i32.load (global.get $pointer)))
    (local.set $count (i32.load (local.get $entry)))
    (local.set $entry (i32.add (local.get $entry) (i32.const 4)))
    (local.set $bytes (i32.add (local.get $entry) (i32.mul (local.get $count) (i32.const 8))))
    (block $done
     (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (call $put (text " "))
      (call $put (local.get $bytes) (i32.load (local.get $entry)))
      (local.set $bytes (i32.add (i32.add (local.get $bytes) (i32.load (local.get $entry))) (i32.const 1)))
      (call $put (text "="))
      (call $put (local.get $bytes) (i32.load offset=4 (local.get $entry)))
      (local.set $bytes (i32.add (i32.add (local.get $bytes) (i32.load offset=4 (local.get $entry))) (i32.const 1)))
      (local.set $entry (i32.add (local.get $entry) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (call $put (text " size "))
    (call $put_number (i32.load (global.get $size)))))
  (call $end))
