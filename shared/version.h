/* The version of Tributary: of both daemons, the command and the tag, which are released together.
 * CHANGELOG.md tells what is in each; a test holds the packages and documents that name it to this
 * line. */
#ifndef TRIBUTARY_SHARED_VERSION_H
#define TRIBUTARY_SHARED_VERSION_H

#define TRIBUTARY_VERSION "0.2.0"

#endif
