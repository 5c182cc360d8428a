/* What a library has to offer to be measured: harness.c calls it, one of the *_side files implements it. */
#ifndef SIDE_H
#define SIDE_H

/* Loads the model, for sessions that compute on the thread that calls them. 0, or nonzero after printing why not. */
int side_open(const char *path);
/* A session that predicts one row, x to y, where these lie; NULL after printing why not. */
void *side_session(const float *x, float *y, int features, int outputs);
/* One prediction; nonzero if it failed. */
int side_run(void *session);

#endif
