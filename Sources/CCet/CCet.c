/* The header of the public C interface; the code behind it is Swift (Sources/CetABI). */
