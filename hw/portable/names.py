"""Names that an exported C function cannot have."""

import re

HEADERS = """
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdarg stdbool stddef stdint
stdio stdlib string tgmath time wchar wctype
"""
"""The headers of C99: the function's own header would take the place of one of them."""
LIBRARY = """
abort abs acos acosh asctime asin asinh atan atan2 atanh atexit atof atoi atol atoll bsearch cabs cacos cacosh calloc
carg casin casinh catan catanh cbrt ccos ccosh ceil cexp cimag clearerr clock clog conj copysign cos cosh cpow cproj
creal csin csinh csqrt ctan ctanh ctime difftime div erf erfc exit exp exp2 expm1 fabs fclose fdim feof ferror fflush
fgetc fgetpos fgets floor fma fmax fmin fmod fopen fprintf fputc fputs fread free freopen frexp fscanf fseek fsetpos
ftell fwrite getc getchar getenv gets gmtime hypot ilogb imaxabs imaxdiv labs ldexp ldiv lgamma llabs lldiv llrint
llround localeconv localtime log log10 log1p log2 logb longjmp lrint lround malloc mblen mbstowcs mbtowc memchr memcmp
memcpy memmove memset mktime modf nan nearbyint nextafter nexttoward perror pow printf putc putchar puts qsort raise
rand realloc remainder remove remquo rename rewind rint round scalbln scalbn scanf setbuf setlocale setvbuf signal sin
sinh snprintf sprintf sqrt srand sscanf strcat strchr strcmp strcoll strcpy strcspn strerror strftime strlen strncat
strncmp strncpy strpbrk strrchr strspn strstr strtod strtof strtoimax strtok strtol strtold strtoll strtoul strtoull
strtoumax strxfrm system tan tanh tgamma time tmpfile tmpnam tolower toupper trunc ungetc vfprintf vfscanf vprintf
vscanf vsnprintf vsprintf vsscanf wcstombs wctomb
"""
"""Functions of the library of C99; the variants of those of real numbers end in ``f`` or ``l``."""
OTHERS = """
asm main size_t ptrdiff_t wchar_t fpos_t va_list FILE BUFSIZ EOF FILENAME_MAX FOPEN_MAX NULL SEEK_CUR SEEK_END SEEK_SET
SIZE_MAX TMP_MAX stderr stdin stdout offsetof unix linux
"""
_RESERVED = {*HEADERS.split(), *OTHERS.split(), *(n + end for n in LIBRARY.split() for end in ("", "f", "l"))}
_INTEGERS = re.compile(r"u?int\w*_t|U?INT\w+_(MIN|MAX|C)")


def is_reserved(name: str) -> bool:
    """Whether a name is one of C99's library and headers, or one that compilers predefine.

    >>> [is_reserved(name) for name in ("memcpy", "sinf", "int_fast8_t", "digits")]
    [True, True, True, False]
    """
    return name in _RESERVED or _INTEGERS.fullmatch(name) is not None


def identifiers(source: str) -> list[str]:
    """The identifiers of a C source in order, without those of comments and texts.

    >>> identifiers('int a = b; /* c */ puts("d"); a = 0;')
    ['int', 'a', 'b', 'puts', 'a']
    """
    code = re.sub(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"", " ", source, flags=re.DOTALL)
    return re.findall(r"[A-Za-z_]\w*", code)
