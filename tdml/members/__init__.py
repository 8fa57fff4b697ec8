"""Who is in: how processes meet, prove who they are, and form one session after the other."""
