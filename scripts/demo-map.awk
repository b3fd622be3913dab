# Draws a garbage map: one cell per range, its colour (or, without colours, its
# character) the share of dead tuples.
# Input: rangeno start_block live dead exact(t/f)

BEGIN {
    plain = ".123456789#"
    steps = split("1 2 5 10 20 30 40 60 80", percent, " ")
    # From green over yellow to red, of the 256-colour cube.
    n = split("22 28 64 100 136 172 208 202 196 160 124", shade, " ")
}

# 0 only if nothing is dead. The steps are narrow where most tables are.
function step(dead, live,   s) {
    if (dead == 0) return 0
    for (s = 1; s <= steps; s++) if (100 * dead < percent[s] * (live + dead)) return s
    return steps + 1
}

function cell(s, exact) {
    if (exact != "t") return colour ? "\033[48;5;240m?\033[0m" : "?"
    return colour ? sprintf("\033[48;5;%dm \033[0m", shade[s + 1]) : substr(plain, s + 1, 1)
}

{
    if ((NR - 1) % width == 0) printf "%s%8d ", (NR > 1 ? "\n" : ""), $2
    printf "%s", cell(step($4, $3), $5)
    dead += $4
    live += $3
}

END {
    printf "\n\n  share of dead tuples:  none "
    for (s = 0; s <= 10; s++) printf "%s", cell(s, "t")
    printf " over %d %%    not known %s\n", percent[steps], cell(0, "f")
    printf "  %d dead, %d live tuples in %d ranges; a number at the left is a block number\n\n", dead, live, NR
}
