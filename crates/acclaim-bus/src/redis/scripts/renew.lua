-- Keeps a bus partition. KEYS: lease, fence. ARGV: our fence, and for how many milliseconds.
-- Answers whether it is ours.
return is_ours(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) and 1 or 0
