# What TAB offers for rtops in fish. File names are fish's own business: it quotes them.
function __rtops_answer
    set -l before (commandline --current-process --tokenize --cut-at-cursor)
    set -l word (commandline --current-token --cut-at-cursor)
    RTOPS_COMPLETE=fish PROGRAM -- $before "$word" 2>/dev/null
end
function __rtops_words
    set -l answer (__rtops_answer)
    test "$answer[1]" = words; and string join -- \n $answer[2..]
end
function __rtops_wants_path
    contains (__rtops_answer)[1] files directories
end
complete --command rtops --no-files --keep-order --arguments '(__rtops_words)'
complete --command rtops --condition __rtops_wants_path --force-files
