using System.Net;
using Slipway.Contracts;
using Slipway.Identity;
using Slipway.Identity.Passwords;
using Slipway.Tests.Storage;

namespace Slipway.Tests.Identity;

/// <summary>Which passwords are taken, how they are kept, and how guessing is slowed down.</summary>
public sealed class PasswordRulesTests
{
    private const string Password = "correct horse battery";

    [Theory]
    [InlineData("")]
    [InlineData("short")]
    [InlineData("1234567")]
    [InlineData("password1234")]
    [InlineData("PASSWORD1")]
    [InlineData("qwertyuiop")]
    [InlineData("aaaaaaaaaaaa")]
    [InlineData("grace-hopper1")]
    public void A_password_that_anyone_would_try_is_refused_without_repeating_it(string password)
    {
        var error = Assert.Throws<SlipwayException>(() => PasswordRules.Check(password, "grace-hopper"));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.StartsWith("'password' ", error.Message, StringComparison.Ordinal);
        Assert.True(password.Length == 0 || !error.Message.Contains(password, StringComparison.OrdinalIgnoreCase));
    }

    [Fact]
    public void Long_passphrases_in_any_script_are_taken_up_to_a_limit()
    {
        PasswordRules.Check("четыре слова подряд", "grace");
        PasswordRules.Check(string.Concat(Enumerable.Repeat("abcd", 32)), "grace");
        Assert.Throws<SlipwayException>(() => PasswordRules.Check(string.Concat(Enumerable.Repeat("abcd", 33)), "grace"));
    }

    [Fact]
    public async Task A_hash_has_its_own_salt_its_rounds_and_never_the_password()
    {
        var first = await PasswordHash.OfAsync(Password, WholeServer.Cancel);
        var second = await PasswordHash.OfAsync(Password, WholeServer.Cancel);

        Assert.StartsWith("pbkdf2-sha512$210000$", first, StringComparison.Ordinal);
        Assert.NotEqual(first, second);
        Assert.True(await PasswordHash.VerifyAsync(Password, first, WholeServer.Cancel));
        Assert.False(await PasswordHash.VerifyAsync(Password + "x", first, WholeServer.Cancel));
        Assert.False(await PasswordHash.VerifyAsync(Password, null, WholeServer.Cancel));
        Assert.False(await PasswordHash.VerifyAsync("\ud800", first, WholeServer.Cancel)); // Half a character, which cannot be normalised.
    }

    [Fact]
    public void Each_further_wrong_password_doubles_the_wait_up_to_a_limit_and_nothing_is_kept_for_ever()
    {
        var clock = new ManualClock();
        var throttle = new LoginThrottle(clock);
        var address = IPAddress.Parse("192.0.2.7");
        var waits = new List<double>();
        for (var n = 0; n < 14; n++)
        {
            throttle.Begin($"user-{n}", address);
            waits.Add(throttle.Wait("somebody-else", address)?.TotalSeconds ?? 0);
            clock.Advance(TimeSpan.FromSeconds(waits[^1]));
        }

        Assert.Equal([0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512], waits);
        Assert.Null(throttle.Wait("somebody-else", IPAddress.Parse("192.0.2.8")));
        clock.Advance(TimeSpan.FromHours(2));
        throttle.Begin("user-0", address);
        Assert.Null(throttle.Wait("user-0", address));

        // One /64 of IPv6 is one caller, and an IPv4 address in IPv6 clothes is the same caller.
        for (var n = 0; n < 6; n++)
        {
            throttle.Begin($"other-{n}", IPAddress.Parse($"2001:db8::{n + 1}"));
        }

        Assert.NotNull(throttle.Wait("x", IPAddress.Parse("2001:db8::ffff")));
        Assert.Null(throttle.Wait("x", IPAddress.Parse("2001:db8:0:1::1")));
    }

    [Fact]
    public void The_memory_of_wrong_passwords_is_bounded()
    {
        var clock = new ManualClock();
        var throttle = new LoginThrottle(clock);
        for (var n = 0; n < 25_000; n++)
        {
            throttle.Begin($"user-{n}", null);
        }

        Assert.InRange(throttle.Remembered, 1, 10_000);
    }
}
