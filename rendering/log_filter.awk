# Takes tokens out of what Reflector's web frontend logs: on each call for a session it prints them, whole objects and
# bare, and whoever reads a log could be anybody by them.
function without(text, pattern, keep,    out, found) {
    out = ""
    while (match(text, pattern)) {
        found = substr(text, RSTART, RLENGTH)
        # What stands before the value tells what it was.
        if (keep && match(found, keep)) {
            out = out substr(text, 1, index(text, found) - 1) substr(found, 1, RLENGTH) "[hidden]"
        } else {
            out = out substr(text, 1, index(text, found) - 1) "[hidden]"
        }
        text = substr(text, index(text, found) + length(found))
    }
    return out text
}

{
    line = without($0, "eyJ[A-Za-z0-9_-]+[.]([A-Za-z0-9_-]|[.])[A-Za-z0-9_.-]*", "")
    name = "([Aa]ccess|[Rr]efresh|[Ii]d)_?[Tt]oken|client_?[Ss]ecret"
    # As objects, JSON and maps are printed.
    line = without(line, "(" name ")[\"']?(:| =>) *[\"'`][^\"'`]*", "(" name ")[\"']?(:| =>) *[\"'`]")
    line = without(line, "(" name ")=[^& \"']+", "(" name ")=")
    print line
    fflush()
}
