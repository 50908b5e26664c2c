//! `top`, in a terminal of tmux.
